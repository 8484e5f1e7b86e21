#!/bin/sh
# Installs docker-artifact: as a plugin where Docker looks for it, and as programs of their own in a bin folder. What it
# puts there is written down beside the plugin, so that --uninstall takes away that, all of it, and nothing else.
set -eu

repository=https://github.com/docker-artifact/docker-artifact
try='get debian:12 /bin/ls'

usage() {
    cat <<EOF
Usage:  install.sh [OPTIONS]

Install docker-artifact for Docker and as a program of its own

Options:
      --bin-dir DIR   Folder for docker-artifact and copy_binary
                      (default "\$HOME/.local/bin")
      --binary FILE   Install this binary instead of building one
      --help          Print this and quit
      --uninstall     Remove what this script installed

The plugin goes to "\${DOCKER_CONFIG:-\$HOME/.docker}/cli-plugins".
EOF
}

say() { printf '%s\n' "$*"; }

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

misused() {
    printf "install.sh: %s\n\nRun 'install.sh --help' for more information\n" "$*" >&2
    exit 2
}

absolute() {
    case $1 in
        /*) printf '%s\n' "$1" ;;
        *) printf '%s/%s\n' "$PWD" "$1" ;;
    esac
}

exists() { [ -e "$1" ] || [ -L "$1" ]; }

# What stands at a path, in a form that tells whether it is still what was put there.
print_of() {
    if [ -L "$1" ]; then
        printf 'link:%s\n' "$(readlink "$1")"
    elif [ -f "$1" ]; then
        cksum <"$1" | tr ' ' ':'
    else
        printf 'other\n'
    fi
}

# Whether this script put what stands at the path there.
is_ours() {
    exists "$1" && [ -f "$record" ] && grep -qxF "file $(print_of "$1") $1" "$record"
}

# Creates a folder, and writes down each one that was not there.
make_folder() {
    [ -d "$1" ] && return
    parent=$(dirname "$1")
    make_folder "$parent"
    mkdir "$1"
    created="$1
$created"
}

# Reads a record, and removes what it lists, where that is still what was put there.
remove_files() {
    while read -r kind print path; do
        [ "$kind" = file ] || continue
        exists "$path" || continue
        if [ "$(print_of "$path")" = "$print" ]; then
            rm -f "$path"
            say "Removed $path"
        else
            say "Left $path alone: it is not what was installed"
        fi
    done
}

# Inner folders stand before the outer ones. Those that hold something by now stay.
remove_folders() {
    while read -r folder; do
        rmdir "$folder" 2>/dev/null || :
    done
}

# The folder of the source that this script belongs to, or that it was started in.
find_source() {
    for folder in "$(dirname "$0")" .; do
        if [ -f "$folder/Cargo.toml" ] && grep -q '^name = "docker-artifact"$' "$folder/Cargo.toml"; then
            (cd "$folder" && pwd)
            return
        fi
    done
}

build() {
    command -v cargo >/dev/null 2>&1 ||
        fail 'cargo is not there; install Rust (https://rustup.rs), or give a binary with --binary FILE'
    source=$(find_source)
    if [ -n "$source" ]; then
        say "Building docker-artifact from $source ..."
        cargo install --quiet --locked --no-track --root "$scratch" --path "$source"
    else
        say "Building docker-artifact from $repository ..."
        cargo install --quiet --locked --no-track --root "$scratch" --git "$repository" docker-artifact
    fi
    binary=$scratch/bin/docker-artifact
}

install_all() {
    plugin=$plugins/docker-artifact
    program=$bin_dir/docker-artifact
    link=$bin_dir/copy_binary
    for path in "$plugin" "$program" "$link"; do
        if exists "$path" && ! is_ours "$path"; then
            fail "$path is there, and this script did not put it there; move it away, or choose another --bin-dir"
        fi
    done
    before=
    [ ! -f "$record" ] || before=$(cat "$record")
    created=$(printf '%s\n' "$before" | sed -n 's/^folder //p')
    make_folder "$plugins"
    make_folder "$bin_dir"
    print=$(print_of "$binary")
    now=$(
        printf 'file %s %s\n' "$print" "$plugin" "$print" "$program" link:docker-artifact "$link"
        printf '%s\n' "$created" | sed -n 's/^..*$/folder &/p'
    )
    # Until everything is in its place, what was there before counts as well.
    printf '%s\n%s\n' "$now" "$before" >"$record"
    for path in "$plugin" "$program"; do
        # Renamed into place, so that one that is running is not written over.
        cp "$binary" "$path.new"
        chmod 755 "$path.new"
        mv -f "$path.new" "$path"
        say "Installed $path"
    done
    ln -sf docker-artifact "$link"
    say "Installed $link -> docker-artifact"
    printf '%s\n' "$before" | while read -r line; do
        case $line in *" $plugin" | *" $program" | *" $link") ;; *) printf '%s\n' "$line" ;; esac
    done | remove_files
    printf '%s\n' "$now" >"$record"
}

advise() {
    say
    if command -v docker >/dev/null 2>&1; then
        say "Type next:  docker artifact $try"
    elif on_path; then
        say "Type next:  docker-artifact $try"
    else
        say "Type next:  $program $try"
    fi
    on_path || say "To use docker-artifact and copy_binary by name, add $bin_dir to your PATH."
}

on_path() {
    case :$PATH: in
        *:"$bin_dir":*) return 0 ;;
        *) return 1 ;;
    esac
}

uninstall_all() {
    if ! [ -f "$record" ]; then
        say "Nothing to remove: there is no $record"
        return
    fi
    remove_files <"$record"
    folders=$(sed -n 's/^folder //p' "$record")
    rm -f "$record"
    printf '%s\n' "$folders" | remove_folders
}

binary=
bin_dir=
action=install
while [ $# -gt 0 ]; do
    case $1 in
        --binary=*) binary=${1#*=} ;;
        --bin-dir=*) bin_dir=${1#*=} ;;
        --binary | --bin-dir)
            [ $# -ge 2 ] || misused "$1 needs an argument"
            if [ "$1" = --binary ]; then binary=$2; else bin_dir=$2; fi
            shift
            ;;
        --uninstall) action=uninstall ;;
        --help | -h)
            usage
            exit 0
            ;;
        *) misused "unknown argument: $1" ;;
    esac
    shift
done

config=${DOCKER_CONFIG:-${HOME:?is not set, and so is DOCKER_CONFIG}/.docker}
plugins=$(absolute "$config")/cli-plugins
record=$plugins/.docker-artifact.installed

if [ "$action" = uninstall ]; then
    uninstall_all
    exit 0
fi

bin_dir=$(absolute "${bin_dir:-${HOME:?is not set; give --bin-dir DIR}/.local/bin}")
if [ -n "$binary" ]; then
    binary=$(absolute "$binary")
    [ -f "$binary" ] || fail "$binary is not a file"
else
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 130' INT TERM
    build
fi
install_all
advise
