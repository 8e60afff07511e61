"""OpenStack Swift with its S3 API, all in this process: ``swift_server.py ROOT PORT_FILE``.

It serves the user ``test:tester`` with the key ``testing``, until PORT_FILE is deleted.
"""

from __future__ import annotations

import eventlet

eventlet.monkey_patch()

import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import eventlet.wsgi  # noqa: E402

RINGS = ("account", "container", "object")
FILTERS = (
    "catch_errors",
    "gatekeeper",
    "healthcheck",
    "listing_formats",
    "copy",
    "slo",
    "dlo",
    "versioned_writes",
)


def write_settings(root: Path, ports: dict[str, int]) -> Path:
    """The files that Swift reads; returns their directory."""
    from swift.common import utils
    from swift.common.storage_policy import reload_storage_policies

    settings = root / "etc"
    for path in (settings, root / "dev" / "d1", root / "recon"):
        path.mkdir(parents=True)
    (settings / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix=a\nswift_hash_path_suffix=b\n"
        "[storage-policy:0]\nname=p0\ndefault=yes\n"
    )
    utils.set_swift_dir(str(settings))
    reload_storage_policies()
    from swift.common.ring import RingBuilder

    for kind in RINGS:
        builder = RingBuilder(4, 1, 0)
        place = {"id": 0, "region": 1, "zone": 1, "weight": 1.0, "ip": "127.0.0.1", "device": "d1"}
        builder.add_dev({**place, "port": ports[kind]})
        builder.rebalance()
        builder.get_ring().save(str(settings / f"{kind}.ring.gz"))
    default = (
        f"[DEFAULT]\nswift_dir={settings}\ndevices={root / 'dev'}\nmount_check=false\n"
        f"disable_fallocate=true\nfallocate_reserve=0\nrecon_cache_path={root / 'recon'}\n"
        "log_level=CRITICAL\n"
    )
    for kind in RINGS:
        app = "mem_object" if kind == "object" else kind
        (settings / f"{kind}.conf").write_text(
            f"{default}[pipeline:main]\npipeline={kind}-server\n"
            f"[app:{kind}-server]\nuse=egg:swift#{app}\n"
        )
    (settings / "proxy.conf").write_text(
        f"{default}[pipeline:main]\npipeline=catch_errors gatekeeper healthcheck listing_formats "
        "s3api tempauth copy slo dlo versioned_writes proxy-server\n"
        "[app:proxy-server]\nuse=egg:swift#proxy\naccount_autocreate=true\n"
        "allow_account_management=true\nnode_timeout=60\n"
        "[filter:tempauth]\nuse=egg:swift#tempauth\nuser_test_tester=testing .admin\n"
        "[filter:s3api]\nuse=egg:swift#s3api\nlocation=us-east-1\ns3_acl=false\n"
        + "".join(f"[filter:{name}]\nuse=egg:swift#{name}\n" for name in FILTERS)
    )
    return settings


def main(root: Path, port_file: Path) -> None:
    """Serve until the file with the port is deleted, or the parent has ended."""
    from swift.common.wsgi import SwiftHttpProtocol, loadapp

    sockets = {kind: eventlet.listen(("127.0.0.1", 0)) for kind in (*RINGS, "proxy")}
    ports = {kind: found.getsockname()[1] for kind, found in sockets.items()}
    settings = write_settings(root, ports)
    log = open(os.devnull, "w")  # noqa: SIM115
    for kind, found in sockets.items():
        path = str(settings / f"{kind}.conf")
        options = {"__file__": path, "here": str(settings), "log_name": kind}
        app = loadapp(path, global_conf=options)
        pool = eventlet.GreenPool(64)
        eventlet.spawn(
            eventlet.wsgi.server,
            found,
            app,
            log,
            protocol=SwiftHttpProtocol,
            custom_pool=pool,
            keepalive=True,
            debug=False,
        )
    part = port_file.with_suffix(".part")
    part.write_text(str(ports["proxy"]))
    part.rename(port_file)
    parent = os.getppid()
    while port_file.exists() and os.getppid() == parent:
        eventlet.sleep(0.2)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
