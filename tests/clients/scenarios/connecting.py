"""How a client reaches the broker: what the environment says of the way (`src/way.rs` has the list), in the words of each
library. Nothing there means plain TCP.
"""

import os
import ssl


def librdkafka(broker):
    """What confluent-kafka is configured with, to begin with."""
    path = os.environ.get("BROOKLET_LIBRDKAFKA", os.devnull)
    with open(path, encoding="utf-8") as lines:
        return {"bootstrap.servers": broker, **dict(line.rstrip("\n").split("=", 1) for line in lines)}


def keywords(broker):
    """What aiokafka and kafka-python both take."""
    told = {"bootstrap_servers": broker}
    authority, certificate, user = (os.environ.get(f"BROOKLET_{name}") for name in ("TLS_CA", "TLS_CERT", "SASL_USER"))
    if authority:
        context = ssl.create_default_context(cafile=authority)
        if certificate:
            context.load_cert_chain(certificate, os.environ["BROOKLET_TLS_KEY"])
        told |= {"security_protocol": "SSL", "ssl_context": context}
    if user:
        with open(os.environ["BROOKLET_SASL_PASSWORD_FILE"], encoding="utf-8") as password:
            told |= {"security_protocol": "SASL_SSL", "sasl_mechanism": os.environ["BROOKLET_SASL_MECHANISM"],
                     "sasl_plain_username": user, "sasl_plain_password": password.read()}
    return told
