"""Signing in to an SSH server whose host key is known."""

from __future__ import annotations

import weakref

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from shared import remote
from shared.errors import ConfigError, IngestError

if TYPE_CHECKING:
    from paramiko import MissingHostKeyPolicy, PKey, SFTPClient, SSHClient

_KEEP_ALIVE = 30
"""Seconds; firewalls forget connections that are silent while a batch is merged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where to, as whom, and with what."""

    host: str
    port: int
    user: str
    password: str | None = field(default=None, repr=False)
    key_file: str | None = None
    passphrase: str | None = field(default=None, repr=False)
    known_hosts: Path

    @property
    def address(self) -> str:
        """Host and port as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 22 else f"{host}:{self.port}"

    @property
    def known_as(self) -> str:
        """Host and port as a file of known hosts has them."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"


def connected(login: Login) -> SFTPClient:
    """A new connection. ConfigError if the host is not known, or does not accept the login."""
    import paramiko

    key = _key(login)
    if key is None and login.password is None:
        raise ConfigError(f"no credentials for {login.address}", fix="Set SFTP_KEY_FILE, or SFTP_PASSWORD")
    client = paramiko.SSHClient()
    _load_known(client, login)
    client.set_missing_host_key_policy(_refusing(login))
    try:
        client.connect(
            login.host, login.port, login.user, login.password, key, look_for_keys=False, allow_agent=False,
            timeout=remote.CONNECT_SECONDS, banner_timeout=remote.CONNECT_SECONDS,
            auth_timeout=remote.READ_SECONDS, channel_timeout=remote.READ_SECONDS,
        )  # fmt: skip
        return _channel(client)
    except paramiko.BadHostKeyException as error:
        client.close()
        raise _changed_key(login, error.key, error.expected_key) from error
    except paramiko.AuthenticationException as error:
        client.close()
        raise _rejected(login, error) from error
    except BaseException:
        client.close()
        raise


def _channel(client: SSHClient) -> SFTPClient:
    transport, sftp = client.get_transport(), client.open_sftp()
    channel = sftp.get_channel()
    assert transport is not None  # noqa: S101 - it has just been connected
    assert channel is not None  # noqa: S101 - as above
    transport.set_keepalive(_KEEP_ALIVE)
    channel.settimeout(remote.READ_SECONDS)
    # The connection lives as long as somebody holds its SFTP client.
    weakref.finalize(sftp, client.close)
    return sftp


def _key(login: Login) -> PKey | None:
    """The private key, of whichever kind it is."""
    import paramiko

    if not login.key_file:
        return None
    path = Path(login.key_file).expanduser()
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key_file(str(path), login.passphrase)
        except paramiko.PasswordRequiredException:
            raise ConfigError(f"the key in {path} has a passphrase", fix="Set SFTP_KEY_PASSPHRASE") from None
        except OSError as error:
            raise ConfigError(
                f"SFTP_KEY_FILE {path} cannot be read: {error.strerror}", fix="Correct its path or rights"
            ) from error
        except (paramiko.SSHException, ValueError, TypeError):
            continue  # of another kind, or with another passphrase; their words may hold parts of the key
    raise ConfigError(
        f"the key in {path} cannot be read",
        fix="Use an ed25519, ecdsa or rsa key that is not encrypted, or set SFTP_KEY_PASSPHRASE",
    )


def _load_known(client: SSHClient, login: Login) -> None:
    """A file that does not exist knows nobody."""
    if login.known_hosts.exists():
        try:
            client.load_host_keys(str(login.known_hosts))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the known hosts in {login.known_hosts} cannot be read", fix="Correct SFTP_KNOWN_HOSTS, or its rights"
            ) from error


def _refusing(login: Login) -> MissingHostKeyPolicy:
    import paramiko

    class Refusing(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> NoReturn:
            raise ConfigError(
                f"the host key of {login.address} is not in {login.known_hosts}",
                fix=f"If its owner confirms {key.fingerprint}, add this line: "
                f"{login.known_as} {key.get_name()} {key.get_base64()}",
            )

    return Refusing()


def _changed_key(login: Login, shown: PKey, known: PKey) -> ConfigError:
    return ConfigError(
        f"THE HOST KEY OF {login.address} HAS CHANGED: it shows {shown.fingerprint}, known is {known.fingerprint}; "
        "somebody may intercept the connection",
        fix=f"Nothing was sent. Ask its owner; only if the change was meant, replace its line in {login.known_hosts}",
    )


def _rejected(login: Login, error: Exception) -> IngestError:
    import paramiko

    if "timeout" in str(error).lower() or "transport shut down" in str(error).lower():
        return remote.RetryLater(f"{login.address} did not respond to the sign-in")
    used = " and ".join(
        name for name, value in (("SFTP_KEY_FILE", login.key_file), ("the password", login.password)) if value
    )
    if isinstance(error, paramiko.BadAuthenticationType):
        used = f"{used}: it takes {', '.join(error.allowed_types)}"
    return ConfigError(
        f"{login.address} does not let {login.user!r} in with {used}",
        fix="Check the user, SFTP_KEY_FILE and SFTP_PASSWORD, and that the server has the public key",
    )
