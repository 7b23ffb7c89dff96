"""The read side: everything that the SDKs of VWO ask a gateway."""
