"""A lab as documents for machines that run containers: one container, or one pod, for each of its hosts.

The documents are made by pure functions (:mod:`.compose`, :mod:`.kubernetes`) from what each host is handed
(:mod:`.handout`); :mod:`.files` issues the certificates and writes everything. The image and its entry point are
in the project's folder ``containers``.
"""

from __future__ import annotations

from dtls_emu.deploy.export.compose import compose_document
from dtls_emu.deploy.export.files import ExportError, export_compose, export_kubernetes
from dtls_emu.deploy.export.handout import Handout, hand_out
from dtls_emu.deploy.export.kubernetes import fit_to_pods, host_documents


__all__ = [
    "ExportError",
    "Handout",
    "compose_document",
    "export_compose",
    "export_kubernetes",
    "fit_to_pods",
    "hand_out",
    "host_documents",
]
