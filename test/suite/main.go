// Command suite runs go test, never from its cache, and tells what a reader needs: how many tests there are before they begin,
// each package and what fails as it ends, and at the end the slowest tests and one line that counts them all.
//
//	go run ./test/suite [-race] [FLAG OF GO TEST]… ./PACKAGE…
//
// With -race, the race detector runs where goroutines of the program or of a test's own server meet; elsewhere a test waits for
// programs, and the detector would only make it slower.
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"
)

// everyTest is how long `make test` takes on two cores, without compiling.
const everyTest = "about 4 minutes"

// raced matches the packages that the race detector is for.
var raced = regexp.MustCompile(`^[^/]+/(patch|test/fleet|test/connect)(/|$)`)

func main() {
	log.SetFlags(0)
	began := time.Now()
	flags, patterns := split(os.Args[1:])
	packages, tests, err := find(patterns)
	if err != nil {
		log.Fatal(err)
	}
	if len(packages) == 0 {
		log.Fatalf("no tests in %q", patterns)
	}
	long := ""
	if slices.Contains(patterns, "./...") {
		long = "; they take " + everyTest + " on two cores"
	}
	fmt.Printf("%d test functions in %d packages%s\n", tests, len(packages), long)
	signal.Notify(make(chan os.Signal, 1), os.Interrupt) // go test has it too, and ends with what there is to tell
	r := newReport(os.Stdout)
	for _, c := range commands(flags, packages) {
		fmt.Printf("go test %s (%d packages)\n", strings.Join(c.flags, " "), len(c.packages))
		before := len(r.failed)
		if err := c.run(r); err != nil && len(r.failed) == before { // not of a test or a package
			r.failed = append(r.failed, name{pkg: "go test: " + err.Error()})
		}
	}
	r.end(time.Since(began))
	if len(r.failed) > 0 {
		os.Exit(1)
	}
}

// split separates what go test is told from the patterns of packages behind it.
func split(args []string) (flags, patterns []string) {
	for _, arg := range args {
		if strings.HasPrefix(arg, "./") {
			patterns = append(patterns, arg)
		} else {
			flags = append(flags, arg)
		}
	}
	return flags, patterns
}

// find returns the packages that have tests, and the number of their test functions in the source. A table of cases is one.
func find(patterns []string) (packages []string, tests int, err error) {
	const files = `{{range .TestGoFiles}} {{$.Dir}}/{{.}}{{end}}{{range .XTestGoFiles}} {{$.Dir}}/{{.}}{{end}}`
	cmd := exec.Command("go", append([]string{"list", "-f", "{{.ImportPath}}" + files}, patterns...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, 0, fmt.Errorf("go list: %w", err)
	}
	function := regexp.MustCompile(`(?m)^func (Test\w+\(\w+ \*testing\.T\)|Fuzz\w+\(\w+ \*testing\.F\)|Example\w*\(\))`)
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) == 1 {
			continue
		}
		packages = append(packages, words[0])
		for _, file := range words[1:] {
			source, err := os.ReadFile(file)
			if err != nil {
				return nil, 0, err
			}
			tests += len(function.FindAll(source, -1))
		}
	}
	return packages, tests, nil
}

// A command is what one go test is told.
type command struct{ flags, packages []string }

// commands returns one for the packages with the race detector and one for those without, as go test has it for all or none. They
// run one after the other, as each of them runs as many packages at once as there are processors.
func commands(flags, packages []string) (all []command) {
	flags = append([]string{"-json", "-count=1"}, flags...)
	if !slices.Contains(flags, "-race") {
		return []command{{flags, packages}}
	}
	elsewhere := slices.DeleteFunc(slices.Clone(flags), func(flag string) bool { return flag == "-race" })
	meets := func(name string) bool { return raced.MatchString(name) }
	without := slices.DeleteFunc(slices.Clone(packages), meets)
	with := slices.DeleteFunc(slices.Clone(packages), func(name string) bool { return !meets(name) })
	for _, c := range []command{{flags, with}, {elsewhere, without}} {
		if len(c.packages) > 0 {
			all = append(all, c)
		}
	}
	return all
}

// run runs go test and reports what it prints.
func (c command) run(r *report) error {
	cmd := exec.Command("go", slices.Concat([]string{"test"}, c.packages, c.flags)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r.read(out)
	return cmd.Wait()
}
