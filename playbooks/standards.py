"""The closed list of controls that a playbook may say it serves, with the labels as published."""

from __future__ import annotations

_CSF = tuple(f"NIST CSF 2.0 PR.AA-{n:02d}" for n in range(1, 7))
_ZERO_TRUST = ("NIST SP 800-207 section 2.1", "NIST SP 800-207 PDP/PEP")
_SP_800_53 = tuple(
    f"SP 800-53r5 {c}" for c in ("AC-2(2)", "AC-12", "AC-17(9)", "AU-9", "AU-10", "AU-14", "CP-13")
)
_IEC = tuple(
    f"IEC 62443-3-3 {r}"
    for r in (
        "SR 1.13 RE 1", "SR 2.1 RE 3", "SR 2.1 RE 4", "SR 2.5", "SR 2.6", "SR 2.7", "SR 2.8", "SR 2.9",
        "SR 2.10", "SR 2.11", "SR 2.12", "SR 3.8", "SR 3.9", "SR 5.2", "SR 6.1", "SR 6.2",
    )
)  # fmt: skip
_CIP = tuple(f"NERC CIP-005-7 R{r}" for r in ("2.1", "2.2", "2.3", "2.4", "2.5", "3.1", "3.2"))
_NIS2 = ("NIS2 Art. 21(2)(i)", "NIS2 Art. 21(2)(j)")
_NHI = tuple(
    f"OWASP NHI Top 10 2025: {risk}"
    for risk in (
        "NHI1 Improper Offboarding",
        "NHI2 Secret Leakage",
        "NHI3 Vulnerable Third-Party NHI",
        "NHI4 Insecure Authentication",
        "NHI5 Overprivileged NHI",
        "NHI6 Insecure Cloud Deployment Configurations",
        "NHI7 Long-Lived Secrets",
        "NHI8 Environment Isolation",
        "NHI9 NHI Reuse",
        "NHI10 Human Use of NHI",
    )
)

LABELS: tuple[str, ...] = _CSF + _ZERO_TRUST + _SP_800_53 + _IEC + _CIP + _NIS2 + _NHI
"""Every label that the field `standards` accepts, in the order in which they are shown."""
