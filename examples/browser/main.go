// Command browser serves a page that shows live rows with nothing but the browser's own WebSocket.
//
//	browser -listen 127.0.0.1:8090
//
// Open http://127.0.0.1:8090 and sign in to a server whose security.cors.allowed_origins names that address.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"
)

//go:embed index.html
var page []byte

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "host:port of this page")
	flag.Parse()
	server := &http.Server{Addr: *listen, Handler: http.HandlerFunc(serve), ReadHeaderTimeout: 5 * time.Second}
	if err := server.ListenAndServe(); err != nil {
		fmt.Fprintln(os.Stderr, "browser:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page) // a reader that leaves needs no answer
}
