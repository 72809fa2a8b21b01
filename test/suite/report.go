package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	columns = 300 // of a line that is printed
	slowest = 20  // tests that are told at the end
)

// An event is what `go test -json` prints in a line, see `go doc test2json`.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// A name is that of a test, or of a package if test is empty.
type name struct{ pkg, test string }

func (n name) String() string { return strings.TrimSpace(short(n.pkg) + " " + n.test) }

// short returns the path of a package from the module's root folder.
func short(pkg string) string {
	_, path, found := strings.Cut(pkg, "/")
	if !found {
		return pkg
	}
	return path
}

// A took is how long a test took.
type took struct {
	name
	seconds float64
}

// A report prints what is worth reading while tests run, and counts them.
type report struct {
	to             io.Writer
	held           map[name]*strings.Builder // what has been printed by tests and packages that still run
	top            []took
	failed         []name
	tests, skipped int
}

func newReport(to io.Writer) *report { return &report{to: to, held: map[name]*strings.Builder{}} }

// read reports the events of one go test.
func (r *report) read(from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) == nil {
				r.add(e)
			} else { // of go itself
				r.print(line)
			}
		}
		if err != nil {
			return
		}
	}
}

// add reports an event. What a test has printed is shown when it fails or is skipped, and forgotten when it passes.
func (r *report) add(e event) {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "output":
		if r.held[n] == nil {
			r.held[n] = &strings.Builder{}
		}
		r.held[n].WriteString(e.Output)
	case "build-output":
		r.print(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(n, e)
		} else {
			r.endTest(n, e)
		}
	}
}

func (r *report) endTest(n name, e event) {
	r.tests++
	if !strings.Contains(e.Test, "/") {
		r.top = append(r.top, took{n, e.Elapsed})
	}
	switch e.Action {
	case "fail":
		r.failed = append(r.failed, n)
		r.show("FAIL", n)
	case "skip":
		r.skipped++
		r.show("SKIP", n)
	}
	delete(r.held, n)
}

// endPackage shows of a package that failed what was printed outside its tests, or by tests that have not ended.
func (r *report) endPackage(n name, e event) {
	if e.Action == "fail" {
		if !slices.ContainsFunc(r.failed, func(f name) bool { return f.pkg == n.pkg }) {
			r.failed = append(r.failed, n)
		}
		r.show("FAIL", n)
		for other := range r.held {
			if other.pkg == n.pkg && other.test != "" {
				r.failed = append(r.failed, other)
				r.show("NOT ENDED", other)
			}
		}
	}
	for other := range r.held {
		if other.pkg == n.pkg {
			delete(r.held, other)
		}
	}
	fmt.Fprintf(r.to, "%-4s %8.2fs  %s\n", map[string]string{"pass": "ok", "fail": "FAIL", "skip": "none"}[e.Action], e.Elapsed, n)
}

// noise matches the lines that go test prints about every test or package.
var noise = regexp.MustCompile(`^(=== (RUN|PAUSE|CONT|NAME) |(PASS|FAIL)$|(FAIL|ok  )\t)`)

// show prints what a test or package has printed.
func (r *report) show(what string, n name) {
	var text strings.Builder
	if held := r.held[n]; held != nil {
		for line := range strings.Lines(held.String()) {
			if !noise.MatchString(strings.TrimSuffix(line, "\n")) {
				text.WriteString(line)
			}
		}
	}
	if n.test != "" || text.Len() > 0 {
		fmt.Fprintf(r.to, "=== %s %s\n", what, n)
		r.print(text.String())
	}
}

// print prints lines, the long ones cut.
func (r *report) print(text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if letters := []rune(line); len(letters) > columns {
			line = string(letters[:columns-1]) + "…"
		}
		fmt.Fprintln(r.to, line)
	}
}

// end prints the slowest tests, what failed, and the count of all, as gotestsum does.
func (r *report) end(elapsed time.Duration) {
	slices.SortStableFunc(r.top, func(a, b took) int { return cmp.Compare(b.seconds, a.seconds) })
	shown := r.top[:min(slowest, len(r.top))]
	fmt.Fprintf(r.to, "\nthe %d slowest of %d test functions, whose times overlap:\n", len(shown), len(r.top))
	for _, t := range shown {
		fmt.Fprintf(r.to, "%8.2fs  %s\n", t.seconds, t.name)
	}
	if len(r.failed) > 0 {
		fmt.Fprintln(r.to, "\nfailed:")
	}
	for _, n := range r.failed {
		fmt.Fprintf(r.to, "  %s\n", n)
	}
	line := fmt.Sprintf("\nDONE %d tests", r.tests)
	if r.skipped > 0 {
		line += fmt.Sprintf(", %d skipped", r.skipped)
	}
	if len(r.failed) > 0 {
		line += fmt.Sprintf(", %d failed", len(r.failed))
	}
	fmt.Fprintf(r.to, "%s in %.1fs\n", line, elapsed.Seconds())
}
