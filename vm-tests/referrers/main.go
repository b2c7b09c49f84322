// A registry with the referrers API, which Debian's docker-registry 2.8 does not have: for contract tests.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: referrers ADDRESS CERTIFICATE KEY (empty for plain HTTP)")
	}
	address, cert, key := os.Args[1], os.Args[2], os.Args[3]
	handler := registry.New(registry.WithReferrersSupport(true))
	fmt.Println("listening on", address)
	if cert == "" {
		log.Fatal(http.ListenAndServe(address, handler))
	}
	log.Fatal(http.ListenAndServeTLS(address, cert, key, handler))
}
