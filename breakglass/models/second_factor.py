"""Second factors as django-otp devices whose secrets are encrypted (TOTP) or hashed (recovery codes) at rest.

The rules of verifying live in `breakglass.services.second_factor`; django-otp's own entry points lead there.
"""

from __future__ import annotations

from django.db import models
from django_otp.models import Device


class TotpFactor(Device):
    """An authenticator app (RFC 6238, SHA-1, 6 digits, 30 s). `secret` is ciphertext."""

    secret = models.BinaryField()
    last_step = models.BigIntegerField(default=-1)
    failures = models.PositiveIntegerField(default=0)
    blocked_until = models.DateTimeField(null=True)

    class Meta(Device.Meta):
        verbose_name = "authenticator app"

    def verify_token(self, token: str) -> bool:
        from breakglass import clock
        from breakglass.domain.refusals import Refused
        from breakglass.services import second_factor

        try:
            second_factor.verify(self.user, token, clock.now())
        except Refused:
            return False
        return True


class RecoveryCodes(Device):
    """The set of one-time codes for a lost authenticator app."""

    failures = models.PositiveIntegerField(default=0)
    blocked_until = models.DateTimeField(null=True)

    class Meta(Device.Meta):
        verbose_name = "recovery codes"

    def verify_token(self, token: str) -> bool:
        from breakglass import clock
        from breakglass.domain.refusals import Refused
        from breakglass.services import second_factor

        try:
            second_factor.use_recovery_code(self.user, token, clock.now())
        except Refused:
            return False
        return True


class RecoveryCode(models.Model):
    """One code of 80 random bits, kept as SHA-256."""

    device = models.ForeignKey(RecoveryCodes, on_delete=models.CASCADE, related_name="codes")
    sha256 = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("device", "sha256"), name="recovery_code_once"),)
