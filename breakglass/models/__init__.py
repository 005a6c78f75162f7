"""The nouns of the control plane, one per file."""

from breakglass.models.access_request import AccessRequest, RequestedAsset
from breakglass.models.api_token import ApiToken
from breakglass.models.approval import Approval
from breakglass.models.asset import Asset, AssetHostKey, AssetLogin
from breakglass.models.audit_checkpoint import AuditAnchor, AuditCheckpoint
from breakglass.models.audit_event import AuditEvent, AuditHead
from breakglass.models.audit_stream import AuditStream
from breakglass.models.connect_code import ConnectCode
from breakglass.models.factor_recovery import EnrolmentCode, FactorRecovery
from breakglass.models.grant import Grant, GrantedAsset
from breakglass.models.incident import Incident
from breakglass.models.lock import Lock
from breakglass.models.notice import Notice
from breakglass.models.notice_route import NoticeDelivery, NoticeRoute
from breakglass.models.person import Person
from breakglass.models.person_certificate import PersonCertificate
from breakglass.models.playbook import PlaybookVersion
from breakglass.models.second_factor import RecoveryCode, RecoveryCodes, TotpFactor
from breakglass.models.spent_challenge import SpentChallenge
from breakglass.models.ssh_key import SshKey

__all__ = [
    "AccessRequest",
    "ApiToken",
    "Approval",
    "Asset",
    "AssetHostKey",
    "AssetLogin",
    "AuditAnchor",
    "AuditCheckpoint",
    "AuditEvent",
    "AuditHead",
    "AuditStream",
    "ConnectCode",
    "EnrolmentCode",
    "FactorRecovery",
    "Grant",
    "GrantedAsset",
    "Incident",
    "Lock",
    "Notice",
    "NoticeDelivery",
    "NoticeRoute",
    "Person",
    "PersonCertificate",
    "PlaybookVersion",
    "RecoveryCode",
    "RecoveryCodes",
    "RequestedAsset",
    "SpentChallenge",
    "SshKey",
    "TotpFactor",
]
