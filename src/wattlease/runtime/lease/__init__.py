"""The lease on the wire: who may ask, what is asked and answered; the service that grants, the client that renews."""
