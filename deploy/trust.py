"""Write the authorities that this system trusts as a Java trust store; print the options with which Java takes it.

The Java of this project knows the public ones, and not one that a network uses to look into its own traffic.
"""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore

# Debian's and Fedora's; Python itself asks SSL_CERT_FILE first.
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
PASSWORD = "changeit"  # Java asks for one; what it guards is public


def main() -> None:
    context = ssl.create_default_context()
    for bundle in BUNDLES:
        if Path(bundle).exists():
            context.load_verify_locations(bundle)
    found = []
    for number, encoded in enumerate(context.get_ca_certs(binary_form=True)):
        try:
            found.append(PKCS12Certificate(x509.load_der_x509_certificate(encoded), str(number).encode()))
        except ValueError:  # one that does not keep to the standard is no loss
            continue
    if found:
        store = Path(sys.argv[1])
        store.write_bytes(serialize_java_truststore(found, BestAvailableEncryption(PASSWORD.encode())))
        print(f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword={PASSWORD}")


if __name__ == "__main__":
    main()
