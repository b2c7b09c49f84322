// Command workload is what runs in the pods of a test cluster: `pause` keeps a pod's namespaces, `serve` answers HTTP.
// It is one static program, so that an image of it needs nothing else.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	switch os.Args[1] {
	case "pause":
		pause()
	case "serve":
		serve(os.Args[2:])
	default:
		usage()
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: workload pause | workload serve [-listen :8080] [-linger 5s]")
	os.Exit(2)
}

// pause waits for its end, and reaps what others leave to it: it is the first process of its pod.
func pause() {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	orphans := make(chan os.Signal, 1)
	signal.Notify(orphans, syscall.SIGCHLD)
	for {
		for { // all at once: signals of one kind are merged, and some may have come before anybody listened
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
		select {
		case <-ends:
			return
		case <-orphans:
		}
	}
}

// memory is what the node has, and what could be had of it, in KiB: /proc/meminfo (proc(5)) tells a pod of its node.
func memory() map[string]int64 {
	found := map[string]int64{}
	text, _ := os.ReadFile("/proc/meminfo") // where there is none, nothing is told
	for _, line := range strings.Split(string(text), "\n") {
		var name string
		var size int64
		if n, _ := fmt.Sscanf(line, "%s %d", &name, &size); n == 2 && (name == "MemTotal:" || name == "MemAvailable:") {
			found[strings.TrimSuffix(name, ":")] = size
		}
	}
	return found
}

// serve answers until SIGTERM, and for a while longer: not everybody knows at once that a pod goes.
func serve(words []string) {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", ":8080", "where it listens")
	linger := flags.Duration("linger", 5*time.Second, "how long it goes on answering after SIGTERM")
	flags.Parse(words)

	var count atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header().Set("Content-Type", "application/json")
		json.NewEncoder(answer).Encode(map[string]any{
			"pod": os.Getenv("POD_NAME"), "node": os.Getenv("NODE_NAME"), "count": count.Add(1), "memory": memory(),
		})
	})
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	server := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}

	done := make(chan struct{})
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-ends
		time.Sleep(*linger)
		limit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Shutdown(limit)
		close(done)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-done
}
