#!/bin/sh
# Makes a small Debian root file system out of Debian's packages: what `FROM debian` would be where there is no Docker Hub.
# Usage: rootfs.sh OUT.tar   (needs apt-get and dpkg-deb; nothing is installed on this machine)
set -eu
out=$(realpath -m "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 0755 "$work"
mkdir "$work/packages" "$work/rootfs"
chmod 0777 "$work/packages" # apt downloads as a user of its own

# perl-base for its hard link, login for its setuid program, libssl3 and libtinfo6 for links to libraries.
cd "$work/packages"
apt-get -qq -o APT::Sandbox::User=root download base-files bash coreutils dash debianutils findutils grep libacl1 libattr1 libc6 libcrypt1 \
    libgmp10 libpcre2-8-0 libselinux1 libssl3 libtinfo6 login perl-base sed tar

# The merged /usr of every current Debian. dpkg-deb --extract would put a directory in the place of each link.
cd "$work/rootfs"
for name in bin lib lib64 sbin; do
    mkdir -p "usr/$name"
    ln -s "usr/$name" "$name"
done
for package in ../packages/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar --extract --preserve-permissions --same-owner --keep-directory-symlink
done
ln -sf dash usr/bin/sh
rm -rf usr/share/doc usr/share/locale usr/share/man
# The same packages give the same bytes.
find . -newer ../packages -exec touch --no-dereference --date=@1700000000 {} +

tar --create --numeric-owner --sort=name --file "$out.part" .
mv "$out.part" "$out"
