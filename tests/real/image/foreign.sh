#!/bin/sh
# Writes layers into DIR, in every dialect that GNU tar speaks: 1.tar is the lowest of seven, gnu-sparse.tar stands alone.
# Usage: foreign.sh DIR
set -eu
cd "$1"

# 100 bytes is where a plain name ends, 155 more where ustar's prefix does.
long=$(printf '%0120d' 0)
make() {
    mkdir -p "root/$1/$long/$long" root/shared
    printf 'start' > "root/$1/sparse"
    truncate -s 3M "root/$1/sparse"
    printf 'end' >> "root/$1/sparse"
    # More pieces than the header of an old GNU sparse entry holds.
    for piece in 1 2 3 4 5 6 7 8 9; do
        printf '%s' "$piece" | dd of="root/$1/pieces" bs=1 seek=$((piece * 131072)) conv=notrunc status=none
    done
    echo "$1" > "root/$1/file"
    echo "$1" > "root/shared/file"
    ln "root/$1/file" "root/$1/$long/$long/hard"
    ln -s "$long/$long/hard" "root/$1/link"
    echo "$1" > "root/shared/only-$1"
}

make gnu
tar -C root --format=gnu -cf 1.tar .
tar -C root --format=gnu --sparse -cf gnu-sparse.tar .
rm -r root
make pax
tar -C root --format=pax --sparse --sparse-version=1.0 -cf 2.tar pax shared
rm -r root
make old-pax
tar -C root --format=pax --sparse --sparse-version=0.1 -cf 3.tar ./old-pax ./shared
rm -r root
make oldest-pax
tar -C root --format=pax --sparse --sparse-version=0.0 -cf 4.tar oldest-pax shared
rm -r root

short=$(printf '%090d' 0)
mkdir -p root/v7 root/ustar/"$short"/shorter
echo v7 > root/v7/file
ln root/v7/file root/v7/hard
echo ustar > root/ustar/"$short"/shorter/file
tar -C root --format=v7 -cf 5.tar v7
tar -C root --format=ustar -cf 6.tar ustar
rm -r root

# A name given twice in one tar: the last one counts. And whiteouts, as plain files.
mkdir -p root/twice root/shared
echo first > root/twice/file
tar -C root -cf 7.tar twice
echo second > root/twice/file
tar -C root -rf 7.tar twice/file
: > root/shared/.wh.only-gnu
: > root/shared/.wh.only-never-there
tar -C root -rf 7.tar shared/.wh.only-gnu shared/.wh.only-never-there
rm -r root
