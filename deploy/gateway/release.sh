# shellcheck shell=sh disable=SC2034,SC2154 # names are set here for those that source this, or by them
# What install, kerbstone-gateway and bundle share: places, words, and the life of a release: built,
# tried, kept or taken back. Sourced, never run.
#
# A release lies in /opt/kerbstone/releases/<version>-<digest of what it is made of> and is never
# changed once it is there. `current` points at the one in use and `previous` at the one before; `trial`
# holds the name to go back to while a new one has not proved itself.

LC_ALL=C
export LC_ALL
umask 022

opt=/opt/kerbstone
releases=$opt/releases
configuration=/etc/kerbstone
config=$configuration/agent.toml
state=/var/lib/kerbstone
runtime=/run/kerbstone
units=/etc/systemd/system
unit_names='kerbstone-agent.service kerbstone-enrol.service kerbstone-trial.service'
back_off=$units/kerbstone-agent.service.d/10-back-off.conf
command_link=/usr/local/sbin/kerbstone-gateway
account=kerbstone

say() { printf '%s: %s\n' "$me" "$*"; }

fail() { # message, then one remedy a line
    printf '%s: %s\n' "$me" "$1" >&2
    shift
    for remedy in "$@"; do printf '  %s\n' "$remedy" >&2; done
    exit 1
}

wrong_usage() {
    printf '%s: %s (see --help)\n' "$me" "$1" >&2
    exit 2
}

must_be_root() {
    [ "$(id -u)" -eq 0 ] || fail "must be run as root" "Run: sudo $me"
}

# One at a time; whoever comes second is told.
take_lock() {
    mkdir -p "$opt"
    exec 9>"$opt/.lock"
    flock -n 9 || fail "another installation, update or roll back is under way" "Wait until it is done."
}

name_of() { # a link to a release; prints its name, or nothing
    [ ! -L "$1" ] || basename "$(readlink "$1")"
}

booted() { [ -d /run/systemd/system ]; } # not where an image is being made in a chroot

seconds_up() { cut -d. -f1 /proc/uptime; } # goes on evenly while somebody sets the clock

# --- What a release is made of -----------------------------------------------------------

# Prints the paths, below a checkout or an unpacked bundle, of all that a gateway gets.
source_files() {
    find edge_agent device_protocol runtime -type f ! -name '*.pyc' ! -path '*/.*'
    find command_line -maxdepth 1 -name 'agent*.py'
    for module in __init__ __main__ first_settings output process toml_text; do
        echo "command_line/$module.py"
    done
    find deploy/gateway -type f
    printf '%s\n' deploy/requirements/edge.txt deploy/requirements/pkcs11.txt pyproject.toml LICENSE NOTICE.md
}

version_of() { sed -n 's/^version = "\(.*\)"$/\1/p' "$1/pyproject.toml" | head -n 1; }

release_name() { # source, python, extras
    # shellcheck disable=SC2046 # no path of the project holds a space
    digest=$(cd "$1" && { source_files | sort | xargs sha256sum && "$2" --version && echo "$3"; } | sha256sum)
    printf '%s-%s\n' "$(version_of "$1")" "$(printf '%s' "$digest" | cut -c1-10)"
}

extras_of() { sed -n 's/^extras //p' "$releases/$1/RELEASE" 2>/dev/null || :; }

agent() { # release, then words of `kerbstone agent`
    agent_python=$releases/$1/venv/bin/python
    shift
    "$agent_python" -P -m command_line agent "$@"
}

# --- Building ----------------------------------------------------------------------------

build_release() { # source, python, name, extras, directory of wheels or ''
    partial=$releases/$3.partial
    rm -rf "$releases"/*.partial
    mkdir -p "$partial"
    "$2" -m venv "$partial/venv" >"$partial/log" 2>&1 ||
        fail "no Python environment could be made: $(tail -n 1 "$partial/log")" "Run: sudo apt install python3-venv"
    install_wheels "$1" "$4" "$5"
    partial_packages=$("$partial/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    mkdir "$partial_packages/command_line" "$partial/gateway"
    (cd "$1" && source_files | grep -v '^deploy/\|/tests/' | tar -cf - -T -) | tar -xf - -C "$partial_packages" --no-same-owner
    for file in pyproject.toml LICENSE NOTICE.md; do mv "$partial_packages/$file" "$partial/$file"; done
    # Without its owner: root runs these, so nobody else may change them.
    cp --preserve=mode,timestamps "$1"/deploy/gateway/* "$partial/gateway/"
    tidy_environment
    # Compiled here, because the agent may not write here; under the names the files will have.
    "$partial/venv/bin/python" -m compileall -q -s "$partial" -p "$releases/$3" "$partial_packages" >>"$partial/log" 2>&1 ||
        fail "the packages could not be compiled: $(tail -n 1 "$partial/log")"
    printf 'version %s\nextras %s\n' "$(version_of "$1")" "$4" >"$partial/RELEASE"
    prove_release
    rm "$partial/log"
    chmod -R go+rX,go-w "$partial"
    sync
    mv "$partial" "$releases/$3"
}

install_wheels() { # source, extras, directory of wheels or ''
    set -- "$1" "$2" "$3" -r "$1/deploy/requirements/edge.txt"
    [ -z "$2" ] || set -- "$@" -r "$1/deploy/requirements/$2.txt"
    total=$(cat "$1/deploy/requirements/edge.txt" ${2:+"$1/deploy/requirements/$2.txt"} | grep -c '^[A-Za-z0-9].*==')
    [ -z "$3" ] || set -- "$@" --no-index --find-links "$3"
    shift 3
    {
        TMPDIR=$partial "$partial/venv/bin/python" -m pip install --disable-pip-version-check --no-input \
            --progress-bar off --no-cache-dir --no-compile --only-binary=:all: --require-hashes "$@" 2>&1 &&
            echo INSTALLED
    } | tee "$partial/log" | while read -r first _; do
        [ "$first" = Collecting ] || continue
        count=$((${count:-0} + 1))
        [ ! -t 1 ] || printf '\r  %s of %s packages ' "$count" "$total"
    done
    [ ! -t 1 ] || printf '\r\033[K'
    grep -q '^INSTALLED$' "$partial/log" || explain_pip
}

explain_pip() {
    grep -v '^Collecting\|^  Downloading\|^Looking' "$partial/log" | tail -n 4 | sed 's/^/  | /' >&2
    if grep -qi 'certificate is not yet valid\|certificate has expired' "$partial/log"; then
        fail "the packages could not be had: by this machine's clock ($(date -u '+%Y-%m-%d %H:%M') UTC) certificates do not count" \
            "Set the clock: sudo timedatectl set-ntp true, or sudo date -u -s '2030-01-31 12:00'"
    elif grep -q 'DO NOT MATCH THE HASHES' "$partial/log"; then
        fail "a package is not the one that was locked; nothing of it was installed" \
            "Whoever hands out the packages, or a proxy, changes them. Do not go on."
    elif grep -q 'No matching distribution' "$partial/log"; then
        fail "a package has no wheel for this machine ($(uname -m), $("$partial/venv/bin/python" --version))" \
            "Take wheels for this machine: deploy/gateway/bundle --help, and give them with --wheels DIR."
    elif grep -q 'No space left' "$partial/log"; then
        fail "there is no room left on the disk of $opt"
    fi
    fail "the packages could not be had" \
        "Is the network reachable (a proxy goes in https_proxy)? Then run this again." \
        "Without a network: deploy/gateway/bundle --wheels on another machine."
}

# What only installing needs goes: a gateway has little room, and nothing there calls pip.
tidy_environment() {
    "$partial/venv/bin/python" -m pip uninstall -q -y pip setuptools 2>/dev/null || :
    for file in "$partial"/venv/bin/*; do
        case ${file##*/} in python*) ;; *) rm "$file" ;; esac
    done
}

prove_release() {
    "$partial/venv/bin/python" -P -c '
import command_line.__main__, command_line.agent, edge_agent.agent
from edge_agent.sensors import adapter_names, settings_class
for name in adapter_names():
    settings_class(name)
' >"$partial/log" 2>&1 || fail "the release does not work here: $(tail -n 1 "$partial/log")"
}

# --- Use ---------------------------------------------------------------------------------

point() { # link, target; in one step
    { ln -sfn "$2" "$1.new" && mv -T "$1.new" "$1"; } || fail "$1 cannot be written"
}

put() { # file, where; in one step
    { cp "$1" "$2.new" && chmod 644 "$2.new" && mv "$2.new" "$2"; } || fail "$2 cannot be written"
}

use_release() { # name: from here on systemd and people meet this one
    mkdir -p "$units"
    for unit in $unit_names; do put "$releases/$1/gateway/$unit" "$units/$unit"; done
    point "$opt/current" "releases/$1"
    mkdir -p "${command_link%/*}"
    point "$command_link" "$opt/current/gateway/kerbstone-gateway"
    use_back_off
    ! booted || systemctl daemon-reload
    sync
}

use_back_off() { # systemd 254 and later can wait longer each time
    systemd=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    [ "${systemd:-0}" -ge 254 ] || return 0
    mkdir -p "${back_off%/*}"
    printf '[Service]\nRestartSteps=5\nRestartMaxDelaySec=120\n' >"$back_off"
}

should_run() { # whether an agent is meant to run here
    booted && [ -f "$config" ] && systemctl is-enabled --quiet kerbstone-agent.service
}

# Puts a release into use and lets it prove itself; goes back if it does not.
change_to() { # name, seconds for the trial
    old=$(name_of "$opt/current")
    proved=''
    if [ "$old" = "$1" ]; then
        use_release "$1"
        return 0
    fi
    [ -z "$old" ] || printf '%s\n' "$old" >"$opt/trial"
    use_release "$1"
    ! should_run || systemctl restart --no-block kerbstone-agent.service
    settle "$2"
}

settle() { # seconds for the trial; sets $proved if there was one, and it went well
    proved=''
    [ -f "$opt/trial" ] || return 0
    old=$(cat "$opt/trial")
    new=$(name_of "$opt/current")
    if ! should_run || healthy "$1"; then
        [ "$old" = "$new" ] || point "$opt/previous" "releases/$old"
        rm "$opt/trial"
        prune
        proved=yes
        return 0
    fi
    say "release $new does not run: $unhealthy; going back to $old" >&2
    show_journal
    use_release "$old"
    systemctl restart --no-block kerbstone-agent.service
    rm "$opt/trial"
    healthy 120 || fail "release $old does not run either: $unhealthy" "Look: journalctl -u kerbstone-agent"
    prune
    return 1
}

# The agent is up under systemd, and the same process has written the status file for a while.
healthy() { # within how many seconds; else says why not in $unhealthy
    deadline=$(($(seconds_up) + $1)) steady=0 seen='' unhealthy='it was not waited for'
    say "waiting for the agent to run"
    while [ "$(seconds_up)" -lt "$deadline" ]; do
        process=$(systemctl show --property MainPID --value kerbstone-agent.service)
        if ! systemctl is-active --quiet kerbstone-agent.service; then
            unhealthy="the service is $(systemctl is-active kerbstone-agent.service || :)" steady=0
        elif [ "$process" != "$(process_in_status)" ]; then
            unhealthy='it writes no status' steady=0
        elif [ "$process" != "$seen" ]; then
            unhealthy='it does not stay up' steady=0 seen=$process
        elif [ "$steady" -ge 3 ]; then
            return 0
        else
            steady=$((steady + 1))
        fi
        sleep 1
    done
    return 1
}

show_journal() {
    journalctl --unit kerbstone-agent.service --lines 10 --no-pager --output cat 2>/dev/null | tail -n 10 | sed 's/^/  | /' >&2
}

process_in_status() {
    agent "$(name_of "$opt/current")" status --config "$config" --json 2>/dev/null | sed -n 's/.*"process": \([0-9]*\).*/\1/p'
}

prune() { # keeps the release in use and the one before
    for directory in "$releases"/*; do
        case ${directory##*/} in
            "$(name_of "$opt/current")" | "$(name_of "$opt/previous")") ;;
            *) rm -rf "$directory" ;;
        esac
    done
}

# True if an agent of that release starts with the settings; else says what keeps it from that.
# `check-config` is stricter: it names also what an agent bears.
can_use_settings() { # release
    "$releases/$1/venv/bin/python" -P -c '
import pathlib, sys
from edge_agent.settings import AgentSettings
from runtime.settings import SettingsError, load
try:
    load(AgentSettings, pathlib.Path(sys.argv[1]))
except SettingsError as error:
    sys.exit(str(error))
' "$config" 2>&1
}

must_use_settings() { # release
    if should_run && ! mistakes=$(can_use_settings "$1"); then
        printf '%s\n' "$mistakes" | sed 's/^/  /' >&2
        fail "release $1 cannot use this gateway's settings; nothing was changed" \
            "Put them right, and run this again: $config"
    fi
}
