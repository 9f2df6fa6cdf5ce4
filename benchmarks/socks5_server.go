// A SOCKS5 server for benchmarks/compare.py: what Go's standard way of relaying (io.Copy, which splices) is worth.
//
//	socks5_server HOST:PORT
package main

import (
	"log"
	"os"

	"github.com/armon/go-socks5"
)

func main() {
	server, err := socks5.New(&socks5.Config{})
	if err == nil {
		err = server.ListenAndServe("tcp", os.Args[1])
	}
	log.Fatal(err)
}
