"""Files through the gateway: sftp decoded, scp followed, rsync named; a row each, bounded as the playbook says."""
