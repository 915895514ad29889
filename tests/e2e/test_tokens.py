"""JSON Web Tokens and password hashes, against the libraries of the Python world."""

import json
import threading

import jwt
import pytest
from argon2 import PasswordHasher
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import server

SECRET = "s" * 64
KEYS = {
    "HS256": None,
    "HS384": None,
    "HS512": None,
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "RS512": lambda: rsa.generate_private_key(65537, 2048),
    "PS384": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def make_pair(alg):
    if KEYS[alg] is None:
        return SECRET, SECRET
    key = KEYS[alg]()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM,
                                           serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def run(tmp_path, script, **values):
    """Runs a script that reads `input` and prints JSON."""
    (tmp_path / "input.json").write_text(json.dumps(values))
    (tmp_path / "script.lua").write_text("""
        local json = require("perigee.json")
        local file <close> = io.open(arg[1])
        local input = json.decode(file:read("a"))
        """ + script)
    done = server.run(tmp_path / "script.lua", tmp_path / "input.json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("alg", KEYS)
def test_tokens_travel_both_ways(tmp_path, alg):
    private, public = make_pair(alg)
    theirs = jwt.encode({"sub": "héctor", "exp": 4102444800}, private, algorithm=alg)
    answer = run(tmp_path, """
        local jwt = require("perigee.jwt")
        local options = { alg = input.alg }
        print(json.encode({
          theirs = jwt.verify(input.theirs, input.public, options),
          ours = jwt.sign({ sub = "7" }, input.private, { alg = input.alg, expires_in_s = 60 }),
        }))
    """, alg=alg, theirs=theirs, private=private, public=public)
    assert answer["theirs"] == {"sub": "héctor", "exp": 4102444800}
    assert jwt.decode(answer["ours"], public, algorithms=[alg])["sub"] == "7"


def test_password_hashes_are_those_of_argon2(tmp_path):
    hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    answer = run(tmp_path, """
        local crypto = require("perigee.crypto")
        print(json.encode({
          theirs = crypto.verify_password("correct horse", input.theirs) and true,
          ours = crypto.hash_password("battery staple", { iterations = 1, memory_kib = 64 }),
        }))
    """, theirs=hasher.hash("correct horse"))
    assert answer["theirs"] is True
    assert hasher.verify(answer["ours"], "battery staple")


def test_a_loading_app_may_hash_a_password(serve, write_app):
    app = serve(write_app("""
        local perigee = require("perigee")
        local stored = perigee.crypto.hash_password("nobody", { iterations = 1, memory_kib = 64 })
        local app = perigee.app()
        app:get("/", function()
          return perigee.crypto.verify_password("nobody", stored)
        end)
        return app
    """))
    with app.client() as client:
        assert client.get("/").json() is True


def test_hashing_passwords_blocks_nobody(serve, write_app):
    app = serve(write_app("""
        local perigee = require("perigee")
        local app = perigee.app()
        local hashing = 0
        app:get("/hash", function()
          hashing = hashing + 1
          perigee.crypto.hash_password("x", { iterations = 20 })
          hashing = hashing - 1
          return true
        end)
        app:get("/", function()
          return hashing
        end)
        return app
    """))
    with app.client() as slow, app.client() as quick:
        thread = threading.Thread(target=lambda: slow.get("/hash"))
        thread.start()
        seen = 0
        while thread.is_alive() and seen == 0:
            seen = quick.get("/").json()
        thread.join()
        assert seen == 1
