#!/usr/bin/env python3
"""A stand-in for Key Vault on loopback, strict about what it is asked.

vault_stand_in.py FOLDER: serves secrets from FOLDER/NAME.json, unwraps with FOLDER/kek.pem through
openssl, writes its port to FOLDER/port and one line a request to FOLDER/requests. A request that is
not exactly what the interface describes gets 400, whose message says why.
"""
import base64
import http.server
import json
import os
import subprocess
import sys
import urllib.parse

folder = sys.argv[1]
TOKEN = "eyJ0.stand-in.token"
times = {}


class Vault(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, status, body, headers=()):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        with open(os.path.join(folder, "requests"), "a") as log:
            log.write("%s %s %d\n" % (self.command, self.path, status))

    def refuse(self, status, code, message, headers=()):
        self.answer(status, {"error": {"code": code, "message": message}}, headers)

    # The parts of the path, or nothing after a refusal.
    def checked(self):
        url = urllib.parse.urlsplit(self.path)
        if self.headers.get("Authorization") != "Bearer " + TOKEN:
            self.refuse(401, "Unauthorized", "AKV10032: Invalid issuer")
            return None
        if urllib.parse.parse_qs(url.query) != {"api-version": ["7.4"]}:
            self.refuse(400, "BadParameter", "api-version: " + url.query)
            return None
        return url.path.split("/")[1:]

    def do_GET(self):
        parts = self.checked()
        if parts is None:
            return
        if len(parts) not in (2, 3) or parts[0] != "secrets":
            return self.refuse(400, "BadParameter", "path " + self.path)
        name = parts[1]
        times[name] = times.get(name, 0) + 1
        if name == "busy" and times[name] == 1:
            return self.refuse(429, "Throttled", "slow down", [("Retry-After", "1")])
        if name == "shaky" and times[name] == 1:
            return self.refuse(503, "Unavailable", "in a moment")
        if name == "forbidden":
            return self.refuse(403, "Forbidden", "The user has no secrets get permission")
        if name == "moved":
            return self.refuse(302, "Moved", "away", [("Location", "/secrets/plain?api-version=7.4")])
        if name == "other":
            return self.answer(200, {"hello": "world"})
        path = os.path.join(folder, name + ".json")
        if not os.path.exists(path):
            return self.refuse(404, "SecretNotFound", "A secret with that name was not found")
        with open(path) as file:
            self.answer(200, json.load(file))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = self.checked()
        if parts is None:
            return
        if parts != ["keys", "kek", "0011", "unwrapkey"]:
            return self.refuse(404, "KeyNotFound", "path " + self.path)
        if self.headers.get("Content-Type") != "application/json":
            return self.refuse(415, "BadParameter", "content type")
        asked = json.loads(body)
        if sorted(asked) != ["alg", "value"] or asked["alg"] != "RSA-OAEP":
            return self.refuse(400, "BadParameter", "body")
        if set(asked["value"]) & set("+/="):
            return self.refuse(400, "BadParameter", "value is not base64url")
        wrapped = base64.urlsafe_b64decode(asked["value"] + "=" * (-len(asked["value"]) % 4))
        done = subprocess.run(
            ["openssl", "pkeyutl", "-decrypt", "-inkey", os.path.join(folder, "kek.pem"),
             "-pkeyopt", "rsa_padding_mode:oaep"], input=wrapped, capture_output=True)
        if done.returncode != 0:
            return self.refuse(400, "BadParameter", "cannot be unwrapped")
        value = base64.urlsafe_b64encode(done.stdout).decode().rstrip("=")
        self.answer(200, {"kid": "https://127.0.0.1/keys/kek/0011", "value": value})


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Vault)
with open(os.path.join(folder, "port.new"), "w") as port:
    port.write(str(server.server_address[1]))
os.rename(os.path.join(folder, "port.new"), os.path.join(folder, "port"))
server.serve_forever()
