// Writes the table of contents of a layer as SOCI does: soci BLOB ZTOC ALGORITHM SPAN, where ALGORITHM is gzip or uncompressed, and a span has
// at least SPAN bytes of the tar.
package main

import (
	"io"
	"log"
	"os"
	"strconv"

	"github.com/awslabs/soci-snapshotter/ztoc"
	"github.com/awslabs/soci-snapshotter/ztoc/compression"
)

func main() {
	span, err := strconv.ParseInt(os.Args[4], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	algorithm := compression.Gzip
	if os.Args[3] != algorithm {
		algorithm = compression.Uncompressed
	}
	built, err := ztoc.NewBuilder("docker-artifact").BuildZtoc(os.Args[1], span, ztoc.WithCompression(algorithm))
	if err != nil {
		log.Fatal(err)
	}
	table, _, err := ztoc.Marshal(built)
	if err != nil {
		log.Fatal(err)
	}
	out, err := os.Create(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(out, table); err != nil {
		log.Fatal(err)
	}
	if err := out.Close(); err != nil {
		log.Fatal(err)
	}
}
