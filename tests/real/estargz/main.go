// Writes a layer as eStargz: estargz TAR BLOB CHUNK LEAST, and prints the digests of its table of contents and of its tar. Files are stored
// in chunks of CHUNK bytes, and small ones together until they are LEAST; 0 is the usual.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"strconv"

	"github.com/containerd/stargz-snapshotter/estargz"
)

func number(argument string) int {
	number, err := strconv.Atoi(argument)
	if err != nil {
		log.Fatal(err)
	}
	return number
}

func main() {
	tar, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	info, err := tar.Stat()
	if err != nil {
		log.Fatal(err)
	}
	chunk, least := number(os.Args[3]), number(os.Args[4])
	blob, err := estargz.Build(io.NewSectionReader(tar, 0, info.Size()),
		estargz.WithChunkSize(chunk), estargz.WithMinChunkSize(least))
	if err != nil {
		log.Fatal(err)
	}
	out, err := os.Create(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(out, blob); err != nil {
		log.Fatal(err)
	}
	// Only then is its tar known.
	if err := blob.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(blob.TOCDigest(), blob.DiffID())
}
