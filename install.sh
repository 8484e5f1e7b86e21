#!/bin/sh
# Installs docker-artifact: as a plugin where Docker looks for it, and as programs of their own in a bin folder, with completion for shells and
# manual pages. What it puts there is written down beside the plugin, so that --uninstall takes away that, all of it, and nothing else.
#
# It may come through a pipe (curl ... | sh): nothing runs before all of it is there.
set -eu

repository=https://github.com/docker-artifact/docker-artifact
# Where releases are downloaded from; a mirror has the same folders: download/vVERSION/ and latest/download/.
releases=${DOCKER_ARTIFACT_RELEASES:-$repository/releases}
try='get debian:12 /bin/ls'

usage() {
    cat <<EOF
Usage:  install.sh [OPTIONS]

Install docker-artifact for Docker and as a program of its own

Options:
      --bin-dir DIR   Folder for docker-artifact and copy_binary
                      (default "\$HOME/.local/bin")
      --binary FILE   Install this binary
      --help          Print this and quit
      --hooks         Have Docker say, after a "docker cp" that found no
                      container, how to copy out of an image
      --uninstall     Remove what this script installed
      --version VERSION
                      Download this release, such as "0.1.0" or "latest"

Without --binary and --version, the program is built if cargo is installed;
if not, the latest release is downloaded.

The plugin goes to "\${DOCKER_CONFIG:-\$HOME/.docker}/cli-plugins". Completion for
bash and zsh, and manual pages, go below "\${XDG_DATA_HOME:-\$HOME/.local/share}",
and completion for fish below "\${XDG_CONFIG_HOME:-\$HOME/.config}".
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
    make_folder "$parent" || return
    mkdir "$1" || return
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

# The file of a release for this machine.
release_file() {
    case $(uname -s) in
        Linux) os=linux ;;
        Darwin) os=darwin ;;
        *) fail "there is no release for $(uname -s); install Rust (https://rustup.rs), and this script builds the program" ;;
    esac
    case $(uname -m) in
        x86_64 | amd64) arch=amd64 ;;
        aarch64 | arm64) arch=arm64 ;;
        *) fail "there is no release for $(uname -m); install Rust (https://rustup.rs), and this script builds the program" ;;
    esac
    printf 'docker-artifact-%s-%s\n' "$os" "$arch"
}

# download URL FILE
download() {
    if command -v curl >/dev/null 2>&1; then
        case $1 in
            https:*) protocols='=https' ;;
            *) protocols='=http,https' ;;
        esac
        curl --proto "$protocols" --fail --silent --show-error --location --retry 3 --output "$2" "$1" && return
    elif command -v wget >/dev/null 2>&1; then
        wget -q -O "$2" "$1" && return
    else
        fail 'neither curl nor wget is installed'
    fi
    fail "cannot download $1"
}

sha256() {
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum "$1"
    elif command -v shasum >/dev/null 2>&1; then
        shasum -a 256 "$1"
    else
        openssl dgst -sha256 -r "$1"
    fi | cut -d ' ' -f 1
}

# fetch VERSION: downloads that release, and compares its checksum with the one that the release lists.
fetch() {
    case $1 in
        latest) folder=$releases/latest/download ;;
        *) folder=$releases/download/v${1#v} ;;
    esac
    file=$(release_file)
    say "Downloading $folder/$file ..."
    download "$folder/SHA256SUMS" "$scratch/SHA256SUMS"
    download "$folder/$file" "$scratch/$file"
    expected=
    while read -r sum name; do
        [ "${name#\*}" != "$file" ] || expected=$sum
    done <"$scratch/SHA256SUMS"
    [ -n "$expected" ] || fail "$folder/SHA256SUMS does not list $file"
    found=$(sha256 "$scratch/$file")
    [ "$found" = "$expected" ] || fail "$folder/$file does not have its checksum: expected $expected, found ${found:-nothing}"
    binary=$scratch/$file
}

# Writes down what is installed: $files, a line each, and the folders that were made for them. What was there before counts as well, until
# everything is in its place.
write_record() {
    {
        printf '%s\n' "$files"
        printf '%s\n' "$created" | sed -n 's/^..*$/folder &/p'
        printf '%s\n' "$before"
    } >"$record"
}

# put FILE MODE PATH: installs the file there. It is renamed into place, so that one that is in use is not written over.
put() {
    cp "$1" "$3.new" || return
    chmod "$2" "$3.new"
    mv -f "$3.new" "$3"
}

# put_beside FILE PATH [LINK]: installs what the program wrote, with a link of that name beside it, unless something else is there.
put_beside() {
    [ -s "$1" ] || return 0
    folder=$(dirname "$2")
    for path in "$2" ${3:+"$folder/$3"}; do
        if exists "$path" && ! is_ours "$path"; then
            say "Left $path alone: this script did not put it there"
            return 0
        fi
    done
    make_folder "$folder" || return 0
    files="$files
file $(print_of "$1") $2"
    [ -z "${3:-}" ] || files="$files
file link:${2##*/} $folder/$3"
    write_record
    put "$1" 644 "$2" || return 0
    [ -z "${3:-}" ] || ln -sf "${2##*/}" "$folder/$3"
}

# Installs what shells and man show of the program, as far as it writes that. Everything else is there by now, and works without.
install_beside() {
    made=$scratch/beside
    mkdir "$made"
    for shell in bash zsh fish; do
        "$program" completion "$shell" >"$made/$shell" 2>/dev/null || :
        grep -q docker-artifact "$made/$shell" || : >"$made/$shell"
    done
    "$program" man "$made/man" >/dev/null 2>&1 || :
    put_beside "$made/bash" "$data/bash-completion/completions/docker-artifact" copy_binary
    put_beside "$made/zsh" "$data/zsh/site-functions/_docker-artifact"
    [ -z "$settings" ] || put_beside "$made/fish" "$settings/fish/completions/docker-artifact.fish" copy_binary.fish
    for page in "$made"/man/*.1; do
        put_beside "$page" "$data/man/man1/${page##*/}"
    done
    [ ! -s "$made/bash" ] || say "Installed completion for bash, zsh and fish, and manual pages, below $data"
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
    # Of the file, also where the binary is a link to it.
    print=$(cksum <"$binary" | tr ' ' ':')
    files=$(printf 'file %s %s\n' "$print" "$plugin" "$print" "$program" link:docker-artifact "$link")
    write_record
    for path in "$plugin" "$program"; do
        put "$binary" 755 "$path"
        say "Installed $path"
    done
    ln -sf docker-artifact "$link"
    say "Installed $link -> docker-artifact"
    [ -z "$data" ] || install_beside
    now=$(printf '%s\n' "$files" | cut -d ' ' -f 3-)
    printf '%s\n' "$before" | while read -r line; do
        path=${line#file * }
        printf '%s\n' "$now" | grep -qxF "$path" || printf '%s\n' "$line"
    done | remove_files
    if printf '%s\n' "$before" | grep -qx hooks; then hooks=yes; fi
    before=
    write_record
    if [ -n "$hooks" ]; then
        "$program" hook on
        printf 'hooks\n' >>"$record"
    fi
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
    case ${SHELL:-} in
        */zsh) say "To complete them in zsh, write before compinit in ~/.zshrc:  fpath+=('$data/zsh/site-functions')" ;;
    esac
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
    # While there is a program that can. What it changed is a line of Docker's config.json.
    if grep -qx hooks "$record"; then
        "$plugins/docker-artifact" hook off || say "Left the hooks in $config/config.json alone"
    fi
    remove_files <"$record"
    folders=$(sed -n 's/^folder //p' "$record")
    rm -f "$record"
    printf '%s\n' "$folders" | remove_folders
}

main() {
    binary=
    bin_dir=
    version=
    hooks=
    action=install
    while [ $# -gt 0 ]; do
        case $1 in
            --binary=*) binary=${1#*=} ;;
            --bin-dir=*) bin_dir=${1#*=} ;;
            --version=*) version=${1#*=} ;;
            --binary | --bin-dir | --version)
                [ $# -ge 2 ] || misused "$1 needs an argument"
                case $1 in
                    --binary) binary=$2 ;;
                    --bin-dir) bin_dir=$2 ;;
                    --version) version=$2 ;;
                esac
                shift
                ;;
            --hooks) hooks=yes ;;
            --uninstall) action=uninstall ;;
            --help | -h)
                usage
                exit 0
                ;;
            *) misused "unknown argument: $1" ;;
        esac
        shift
    done
    if [ -n "$binary" ] && [ -n "$version" ]; then
        misused '--binary and --version exclude each other'
    fi
    case $version in
        *[!0-9A-Za-z.+-]*) misused "not a version: $version" ;;
    esac

    config=${DOCKER_CONFIG:-${HOME:?is not set, and so is DOCKER_CONFIG}/.docker}
    plugins=$(absolute "$config")/cli-plugins
    record=$plugins/.docker-artifact.installed

    if [ "$action" = uninstall ]; then
        uninstall_all
        exit 0
    fi

    bin_dir=$(absolute "${bin_dir:-${HOME:?is not set; give --bin-dir DIR}/.local/bin}")
    # Below a home, or nowhere. A relative path counts for nothing there (XDG Base Directory Specification).
    case ${XDG_DATA_HOME:-} in
        /*) data=$XDG_DATA_HOME ;;
        *) data=${HOME:+$HOME/.local/share} ;;
    esac
    case ${XDG_CONFIG_HOME:-} in
        /*) settings=$XDG_CONFIG_HOME ;;
        *) settings=${HOME:+$HOME/.config} ;;
    esac
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 130' INT TERM
    if [ -n "$binary" ]; then
        binary=$(absolute "$binary")
        [ -f "$binary" ] || fail "$binary is not a file"
    elif [ -n "$version" ]; then
        fetch "$version"
    elif command -v cargo >/dev/null 2>&1; then
        build
    else
        fetch latest
    fi
    install_all
    advise
}

main "$@"
