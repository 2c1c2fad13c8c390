#!/usr/bin/env python3
"""A certificate server for the tests: EST from RFC 7030 and RFC 8951, with the standard library and openssl.

    server.py FOLDER

Makes an authority and a server certificate in FOLDER, prints its port on one line, and serves until standard
input ends. The last part of the path before the operation says how it behaves ("label", RFC 7030 section 3.2.2):
`/.well-known/est/ok/simpleenroll`. It checks what a client sends and answers 400 with a reason when it is not
what the RFC wants. One line of JSON for each request goes to FOLDER/log.
"""

import base64
import binascii
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
import time

FOLDER = sys.argv[1]
LOCK = threading.Lock()
# Tokens that are good once: the user and the token.
TOKENS = {}
# How often a request was seen, by its bytes.
SEEN = {}


def at(name):
    return os.path.join(FOLDER, name)


def openssl(*arguments, data=None):
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise ValueError(done.stderr.decode(errors="replace").strip().splitlines()[-1])
    return done.stdout


def write(name, data):
    with open(at(name), "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


def make_key(name):
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", at(name))


def make_authority(name):
    make_key(f"{name}.key")
    openssl("req", "-x509", "-new", "-key", at(f"{name}.key"), "-out", at(f"{name}.pem"), "-days", "3650",
            "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")


def issue(csr_pem, authority, extensions, days, name, subject=None):
    """A certificate for a request; the extensions are this server's choice, as its profile would be."""
    write(f"{name}.csr", csr_pem)
    write(f"{name}.cnf", extensions)
    arguments = ["x509", "-req", "-in", at(f"{name}.csr"), "-CA", at(f"{authority}.pem"),
                 "-CAkey", at(f"{authority}.key"), "-days", str(days), "-extfile", at(f"{name}.cnf"),
                 "-set_serial", str(int.from_bytes(os.urandom(8), "big") >> 1)]
    if subject:
        arguments += ["-subj", subject]
    return openssl(*arguments)


def issue_between(csr_pem, extensions, days, name):
    """The same for a time that does not begin now, which `x509 -req` cannot: from and until, in days from now."""
    write("index.txt", "")
    write("ca.cnf", "[ca]\ndefault_ca=d\n[d]\n" f"database={at('index.txt')}\nnew_certs_dir={FOLDER}\n"
          "rand_serial=yes\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n")
    write(f"{name}.csr", csr_pem)
    write(f"{name}.cnf", extensions)
    dates = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + day * 86400)) for day in days]
    openssl("ca", "-batch", "-notext", "-config", at("ca.cnf"), "-cert", at("ca.pem"), "-keyfile", at("ca.key"),
            "-in", at(f"{name}.csr"), "-extfile", at(f"{name}.cnf"), "-out", at(f"{name}.pem"),
            "-startdate", dates[0], "-enddate", dates[1])
    with open(at(f"{name}.pem"), "rb") as file:
        return file.read()


def wait_for(name):
    """Until somebody puts this file there."""
    for _ in range(1000):
        if os.path.exists(at(name)):
            return
        time.sleep(0.02)


def request_text(csr_pem):
    return openssl("req", "-noout", "-text", data=csr_pem).decode()


def request_name(csr_pem):
    return openssl("req", "-noout", "-subject", "-nameopt", "multiline", data=csr_pem).decode().split("= ")[-1].strip()


def alternative_name(text):
    lines = [line.strip() for line in text.splitlines()]
    for here, line in enumerate(lines):
        if line.startswith("X509v3 Subject Alternative Name"):
            return lines[here + 1]
    return ""


def pkcs7(pems):
    write("out.pem", b"".join(pems))
    return openssl("crl2pkcs7", "-nocrl", "-certfile", at("out.pem"), "-outform", "DER")


def profile(san, purpose="clientAuth"):
    lines = ["basicConstraints=CA:FALSE", "keyUsage=critical,digitalSignature", f"extendedKeyUsage={purpose}",
             "authorityKeyIdentifier=keyid", "subjectKeyIdentifier=hash"]
    if not purpose:
        del lines[2]
    return "\n".join(lines + ([f"subjectAltName={san}"] if san else [])) + "\n"


class Refused(Exception):
    def __init__(self, status, reason, headers=()):
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    def log_message(self, *_):
        pass

    def note(self, **what):
        with LOCK, open(at("log"), "a", encoding="utf-8") as log:
            log.write(json.dumps({"path": self.path, "peer": self.peer_name(), **what}) + "\n")

    def peer_name(self):
        peer = self.connection.getpeercert()
        names = [value for part in (peer or {}).get("subject", ()) for key, value in part if key == "commonName"]
        return names[0] if names else None

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def certificates(self, pems):
        text = base64.encodebytes(pkcs7(pems)).replace(b"\n", b"\r\n")
        self.answer(200, text, [("Content-Type", "application/pkcs7-mime; smime-type=certs-only")])

    def parts(self):
        parts = self.path.strip("/").split("/")
        if parts[:2] != [".well-known", "est"] or len(parts) != 4:
            raise Refused(404, "no such path")
        return parts[2], parts[3]

    def do_GET(self):
        try:
            label, operation = self.parts()
            if operation != "cacerts":
                raise Refused(404, "no such operation")
            if self.headers.get("Authorization"):
                raise Refused(400, "cacerts needs no token: why is it sent?")
            self.note(operation=operation)
            self.cacerts(label)
        except Refused as refused:
            self.answer(refused.status, refused.reason.encode(), refused.headers)

    def cacerts(self, label):
        if label == "html":
            self.answer(200, b"<html>welcome</html>", [("Content-Type", "text/html")])
        elif label == "garbage":
            self.answer(200, b"AAAA", [("Content-Type", "application/pkcs7-mime")])
        elif label == "notbase64":
            self.answer(200, b"\x30\x82\x01\x02", [("Content-Type", "application/pkcs7-mime")])
        elif label == "endless":
            self.send_response(200)
            self.send_header("Content-Type", "application/pkcs7-mime")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"A" * 65536)
            except OSError:
                pass
            self.close_connection = True
        elif label == "silent":
            time.sleep(5)
        elif label == "short":
            self.send_response(200)
            self.send_header("Content-Type", "application/pkcs7-mime")
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b"AAAA")
            self.close_connection = True
        elif label == "elsewhere":
            self.answer(302, b"", [("Location", "https://evil.example/")])
        elif label == "nothing":
            self.answer(204)
        elif label == "apart":
            # Certificates of gateways come from another authority than the server's own.
            with open(at("stranger.pem"), "rb") as file:
                self.certificates([file.read()])
        elif label == "down":
            self.answer(503, b"maintenance\r\nuntil nine", [("Retry-After", "120")])
        else:
            names = ["ca.pem", "stranger.pem"] if label == "strange" else ["ca.pem"]
            pems = []
            for name in names:
                with open(at(name), "rb") as file:
                    pems.append(file.read())
            self.certificates(pems)

    def do_POST(self):
        try:
            label, operation = self.parts()
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            csr = self.read_request(body)
            self.note(operation=operation, key=self.key_of(csr))
            if operation == "simpleenroll":
                self.check_token(csr)
            elif operation == "simplereenroll":
                self.check_peer(csr)
            else:
                raise Refused(404, "no such operation")
            self.enrol(label, csr)
        except Refused as refused:
            self.note(refused=refused.reason)
            self.answer(refused.status, refused.reason.encode(), refused.headers)

    def read_request(self, body):
        """The request as PEM, its signature verified."""
        if self.headers.get("Content-Type") != "application/pkcs10":
            raise Refused(400, f"content type {self.headers.get('Content-Type')}")
        try:
            der = base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise Refused(400, f"not base64: {error}") from error
        write("in.csr", der)
        try:
            pem = openssl("req", "-inform", "DER", "-in", at("in.csr"), "-verify")
        except ValueError as error:
            raise Refused(400, f"not a request, or not signed by its own key: {error}") from error
        text = request_text(pem)
        for wanted in ["prime256v1", "ecdsa-with-SHA256", "Digital Signature", "TLS Web Client Authentication"]:
            if wanted not in text:
                raise Refused(400, f"the request has no {wanted}")
        return pem

    def key_of(self, csr):
        return openssl("req", "-noout", "-pubkey", data=csr).decode()

    def check_token(self, csr):
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            raise Refused(401, "a token", [("WWW-Authenticate", 'Basic realm="est"')])
        user, _, token = base64.b64decode(value).decode().partition(":")
        with LOCK:
            is_good = TOKENS.get(token) in (user, "any") and f"CN = {user}" in request_text(csr)
            if not is_good:
                raise Refused(401, "the token", [("WWW-Authenticate", 'Basic realm="est"')])

    def check_peer(self, csr):
        """RFC 7030 section 4.2.2: subject and alternative names are those of the present certificate."""
        if self.headers.get("Authorization"):
            raise Refused(400, "a token at a renewal")
        peer = self.connection.getpeercert(binary_form=True)
        if not peer:
            raise Refused(401, "no client certificate")
        write("peer.der", peer)
        present = openssl("x509", "-inform", "DER", "-in", at("peer.der"), "-noout", "-text").decode()
        if alternative_name(present) != alternative_name(request_text(csr)):
            raise Refused(403, "another alternative name than the present certificate's")
        subject = openssl("x509", "-inform", "DER", "-in", at("peer.der"), "-noout", "-subject").decode()
        wanted = openssl("req", "-noout", "-subject", data=csr).decode()
        if subject != wanted:
            raise Refused(403, f"another subject: {wanted.strip()} for {subject.strip()}")
        key = openssl("x509", "-inform", "DER", "-in", at("peer.der"), "-noout", "-pubkey").decode()
        if key == self.key_of(csr):
            raise Refused(403, "the present key again")

    def enrol(self, label, csr):
        san, authority, days, subject = alternative_name(request_text(csr)), "ca", 90, None
        if not san.startswith("URI:urn:"):
            raise Refused(400, f"no URI in {san!r}")
        if label == "approval":
            with LOCK:
                SEEN[csr] = SEEN.get(csr, 0) + 1
                if SEEN[csr] == 1:
                    self.answer(202, b"", [("Retry-After", "7")])
                    return
        elif label == "full":
            raise Refused(429, "later", [("Retry-After", "300")])
        elif label == "forbidden":
            raise Refused(403, "gateway is not registered")
        elif label == "otherkey":
            make_key("other.key")
            csr = openssl("req", "-new", "-key", at("other.key"), "-subj", "/CN=gw-1")
        elif label in ("otherca", "strange"):
            # The one that names its authority can be believed; a broker may not know it all the same.
            authority = "stranger"
        elif label == "gated":
            wait_for("go")
            subject = "/O=renewed/CN=" + request_name(csr)
        elif label == "othername":
            san = "URI:urn:wardline:st-anna:gw-2"
        elif label == "othercn":
            subject = "/CN=gw-2"
        elif label == "server":
            pass
        elif label == "short-lived":
            days = 1
        elif label == "apart":
            authority = "stranger"
        elif label == "twonames":
            san += ",DNS:admin.example"
        elif label == "twocns":
            subject = "/CN=gw-1/CN=admin"
        elif label == "nocn":
            subject = "/O=somebody"
        purpose = {"server": "serverAuth", "nopurpose": None}.get(label, "clientAuth")
        if label == "aged":
            # Nearly over: it is to be renewed at once.
            pem = issue_between(csr, profile(san, purpose), (-80, 10), "issued")
        else:
            pem = issue(csr, authority, profile(san, purpose), days, "issued", subject)
        with LOCK:
            scheme, _, value = self.headers.get("Authorization", "").partition(" ")
            if scheme:
                # Good once: it is used up when a certificate is issued.
                TOKENS.pop(base64.b64decode(value).decode().partition(":")[2], None)
        self.certificates([pem])


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):
        try:
            request.settimeout(20)
            with self.context.wrap_socket(request, server_side=True) as connection:
                super().finish_request(connection, client_address)
                try:
                    connection.unwrap()
                except OSError:
                    pass
        except (OSError, ValueError) as error:
            with LOCK, open(at("log"), "a", encoding="utf-8") as log:
                log.write(json.dumps({"connection": str(error)}) + "\n")


def main():
    make_authority("ca")
    make_authority("stranger")
    make_key("server.key")
    csr = openssl("req", "-new", "-key", at("server.key"), "-subj", "/CN=localhost")
    write("server.pem", issue(csr, "ca", profile("DNS:localhost,IP:127.0.0.1", "serverAuth"), 90, "tls"))
    # A certificate that has run out, as a gateway that was long in a cupboard has one.
    make_key("old.key")
    csr = openssl("req", "-new", "-key", at("old.key"), "-subj", "/CN=gw-1")
    write("old.pem", issue(csr, "ca", profile("URI:urn:wardline:st-anna:gw-1"), -1, "old"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(at("server.pem"), at("server.key"))
    context.load_verify_locations(at("ca.pem"))
    context.verify_mode = ssl.CERT_OPTIONAL
    server = Server(("127.0.0.1", 0), Handler)
    server.context = context
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    # A line on standard input is a token: USER TOKEN.
    for line in sys.stdin:
        user, token = line.split()
        with LOCK:
            TOKENS[token] = user
        print("ok", flush=True)


if __name__ == "__main__":
    main()
