from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def those_in_vendors_groups(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Whoever counted as a vendor's by the name of a group goes on to do so, until somebody names the company."""
    people = apps.get_model("breakglass", "Person").objects.using(schema_editor.connection.alias)
    for person in people.filter(groups__name__istartswith="vendor").distinct():
        groups = person.groups.filter(name__istartswith="vendor").order_by("name")
        people.filter(pk=person.pk).update(vendor=groups.first().name[:120])


class Migration(migrations.Migration):
    dependencies = [
        ("breakglass", "0011_found_quickly"),
    ]

    operations = [
        migrations.AddField(
            model_name="person",
            name="vendor",
            field=models.CharField(
                blank=True,
                default="",
                help_text="the company that sends them; empty for our own people",
                max_length=120,
            ),
            preserve_default=False,
        ),
        migrations.RunPython(those_in_vendors_groups, migrations.RunPython.noop),
    ]
