// Command vuln looks for known vulnerabilities that the product's code can reach.
//
// govulncheck wants a database in the layout of vuln.go.dev. This program makes one from the newest
// golang.org/x/vulndb that the module proxy has, since the reports are part of that module: whoever can
// build the product can run the check. It needs a network that reaches the proxy, or a module cache that
// has the database already, of whatever age; it prints which version it used.
//
// The exit code is not zero when vulnerable code of a module is called: a newer version of the module, or
// another module, is the remedy. Vulnerable code of the standard library is printed and fails nothing, since
// the remedy is the compiler of whoever builds; -strict makes it fail, which is what a release wants. Without
// a database nothing is checked, which is a failure, too, unless -optional is given.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// database is the module whose data/osv directory holds one report in each file.
const database = "golang.org/x/vulndb"

var errNoDatabase = errors.New("the database of vulnerabilities cannot be had")

func main() {
	strict := flag.Bool("strict", false, "fail for the standard library, too")
	optional := flag.Bool("optional", false, "succeed without a database")
	flag.Parse()
	if err := run(*strict, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		if errors.Is(err, errNoDatabase) && *optional {
			return
		}
		os.Exit(1)
	}
}

func run(strict bool, packages []string) error {
	reports, version, err := download()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "vulndb")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	n, err := layOut(filepath.Join(reports, "data", "osv"), dir)
	if err != nil {
		return fmt.Errorf("make a database of %s %s: %w", database, version, err)
	}
	fmt.Printf("%d reports of %s %s\n", n, database, version)
	call := append([]string{"tool", "-modfile=tools/go.mod", "govulncheck", "-format", "json", "-db", "file://" + dir}, packages...)
	check := exec.Command("go", call...)
	check.Dir, check.Stderr = "..", os.Stderr // it is run in tools, and looks at the product
	out, err := check.Output()
	if err != nil {
		return fmt.Errorf("govulncheck: %w", err)
	}
	return judge(bytes.NewReader(out), strict)
}

// download fetches the newest database, or finds the newest that the module cache has.
func download() (dir, version string, err error) {
	load := exec.Command("go", "mod", "download", "-json", database+"@latest")
	load.Stderr = os.Stderr
	load.Dir = os.TempDir() // of no module, so that nobody's go.mod is asked
	out, err := load.Output()
	var module struct{ Dir, Version, Error string }
	if parse := json.Unmarshal(out, &module); err != nil || parse != nil || module.Dir == "" {
		return "", "", fmt.Errorf("%w: download %s: %w", errNoDatabase, database, errors.Join(err, parse, errors.New(module.Error)))
	}
	return module.Dir, module.Version, nil
}

// report is the part of an OSV entry that the indices of a database repeat.
type report struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Affected []struct {
		Package struct {
			Name string `json:"name"`
		} `json:"package"`
	} `json:"affected"`
}

type moduleReports struct {
	Path  string         `json:"path"`
	Vulns []moduleReport `json:"vulns"`
}

type moduleReport struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
}

// layOut writes the reports and their indices as https://go.dev/doc/security/vuln/database describes them,
// and returns how many there are.
func layOut(reports, dir string) (int, error) {
	files, err := filepath.Glob(filepath.Join(reports, "*.json"))
	if err != nil {
		return 0, err
	}
	if len(files) == 0 {
		return 0, fmt.Errorf("no reports in %s", reports)
	}
	for _, part := range []string{"ID", "index"} {
		if err := os.Mkdir(filepath.Join(dir, part), 0o700); err != nil {
			return 0, err
		}
	}
	var newest time.Time
	byModule := map[string][]moduleReport{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		var r report
		if err := json.Unmarshal(data, &r); err != nil {
			return 0, fmt.Errorf("read %s: %w", file, err)
		}
		if r.Modified.After(newest) {
			newest = r.Modified
		}
		var modules []string
		for _, affected := range r.Affected {
			modules = append(modules, affected.Package.Name)
		}
		slices.Sort(modules)
		for _, module := range slices.Compact(modules) {
			byModule[module] = append(byModule[module], moduleReport{r.ID, r.Modified})
		}
		if err := os.WriteFile(filepath.Join(dir, "ID", r.ID+".json"), data, 0o600); err != nil {
			return 0, err
		}
	}
	modules := make([]moduleReports, 0, len(byModule))
	for path, reports := range byModule {
		modules = append(modules, moduleReports{path, reports})
	}
	slices.SortFunc(modules, func(a, b moduleReports) int { return cmp.Compare(a.Path, b.Path) })
	err = errors.Join(
		write(filepath.Join(dir, "index", "modules.json"), modules),
		write(filepath.Join(dir, "index", "db.json"), map[string]time.Time{"modified": newest}),
	)
	return len(files), err
}

func write(file string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}
