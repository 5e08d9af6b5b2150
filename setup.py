"""Build of the compiled rooms: one list, one set of directives; a module that does not compile stops the build."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SRC = Path("src/bascule")
# Every compiled module: a .py in Cython's pure-Python mode with its types in the sibling .pxd.
COMPILED = [line for line in (SRC / "compiled.txt").read_text().split() if line]
SANITIZE = os.environ.get("BASCULE_SANITIZE") == "1"

FLAGS = ["-O3", "-g", "-fno-omit-frame-pointer", "-fno-strict-aliasing", "-Wno-unused-function"]
if os.environ.get("BASCULE_QUICK") == "1":  # for iterations: slower code, sooner
    FLAGS[0] = "-O1"
LINK: list[str] = []
# Whose headers scripts/setup installs.
OPENSSL = ["ssl", "crypto"]
LIBRARIES = {
    "engine.http2_client": ["nghttp2"],
    "engine.http2_connection": ["nghttp2"],
    "engine.http2_stream": ["nghttp2"],
    "engine.http2_websocket": ["nghttp2"],
    "engine.http2_upstream": ["nghttp2"],
    "engine.http2_upstream_connection": ["nghttp2"],
    "engine.http2_upstream_session": ["nghttp2"],
    "net.tls": OPENSSL,
    "net.tls_client": OPENSSL,
    "net.tls_identity": OPENSSL,
    "net.tls_server": OPENSSL,
}
if SANITIZE:
    FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize=vptr"]
    LINK = ["-fsanitize=address,undefined"]

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"bascule.{name}",
                [str(SRC / (name.replace(".", "/") + ".py"))],
                extra_compile_args=FLAGS,
                extra_link_args=LINK,
                libraries=LIBRARIES.get(name, []),
            )
            for name in COMPILED
        ],
        compiler_directives={
            "language_level": 3,
            "annotation_typing": False,
            "boundscheck": SANITIZE,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "infer_types": True,
            "embedsignature": True,
        },
        build_dir="build/cython-asan" if SANITIZE else "build/cython",
        include_path=["src"],
        show_all_warnings=False,
        nthreads=os.cpu_count() or 1,
    ),
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
)
