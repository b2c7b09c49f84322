// Reads a bill of materials with Trivy's own decoders and prints, as JSON, what Trivy looks advisories up by.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/sbom/core"
	"github.com/aquasecurity/trivy/pkg/sbom/cyclonedx"
	sbomio "github.com/aquasecurity/trivy/pkg/sbom/io"
	"github.com/aquasecurity/trivy/pkg/sbom/spdx"
	"github.com/aquasecurity/trivy/pkg/types"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: scanner spdx|cyclonedx FILE")
	}
	sbom, err := decode(os.Args[1], os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	system, packages, others := []string{}, [][]string{}, [][]string{}
	if sbom.Metadata.OS != nil {
		system = []string{string(sbom.Metadata.OS.Family), sbom.Metadata.OS.Name}
	}
	for _, kind := range sbom.Packages {
		for _, one := range kind.Packages {
			packages = append(packages, facts(one))
		}
	}
	for _, application := range sbom.Applications {
		for _, one := range application.Packages {
			others = append(others, []string{string(application.Type), one.Name, one.Version})
		}
	}
	found := map[string]any{"system": system, "packages": packages, "others": others}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		log.Fatal(err)
	}
}

func decode(form, path string) (types.SBOM, error) {
	var sbom types.SBOM
	data, err := os.ReadFile(path)
	if err != nil {
		return sbom, err
	}
	bom := core.NewBOM(core.Options{GenerateBOMRef: form == "cyclonedx"})
	var document any = &spdx.SPDX{BOM: bom}
	if form == "cyclonedx" {
		document = &cyclonedx.BOM{BOM: bom}
	}
	if err := json.Unmarshal(data, document); err != nil {
		return sbom, err
	}
	return sbom, sbomio.NewDecoder(bom).Decode(context.Background(), &sbom)
}

// Name, version, architecture, and source package with its version.
func facts(one ftypes.Package) []string {
	return []string{
		one.Name, version(one.Epoch, one.Version, one.Release), one.Arch,
		one.SrcName, version(one.SrcEpoch, one.SrcVersion, one.SrcRelease),
	}
}

// A version as Debian writes it, from the parts that Trivy keeps.
func version(epoch int, upstream, revision string) string {
	if epoch > 0 {
		upstream = fmt.Sprintf("%d:%s", epoch, upstream)
	}
	if revision != "" {
		upstream += "-" + revision
	}
	return upstream
}
