package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const module = "evolution-openai-patch/"

// The race detector runs where goroutines meet and nowhere else, and nothing comes from go test's cache.
func TestCommands(t *testing.T) {
	t.Parallel()
	flags, patterns := split([]string{"-race", "-run", "^TestOne$", "./..."})
	if want := []string{"-race", "-run", "^TestOne$"}; !slices.Equal(flags, want) || !slices.Equal(patterns, []string{"./..."}) {
		t.Fatalf("split into %q and %q", flags, patterns)
	}
	all := []string{module + "patch", module + "patch/postgres", module + "test", module + "test/attack", module + "test/connect", module + "test/fleet", module + "test/project"}
	want := []command{
		{[]string{"-json", "-count=1", "-race", "-run", "^TestOne$"}, []string{all[0], all[1], all[4], all[5]}},
		{[]string{"-json", "-count=1", "-run", "^TestOne$"}, []string{all[2], all[3], all[6]}},
	}
	if got := commands(flags, all); !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := commands(flags, all[:1]); len(got) != 1 || !slices.Contains(got[0].flags, "-race") {
		t.Errorf("for one package: %q", got)
	}
	if got := commands(nil, all); !reflect.DeepEqual(got, []command{{[]string{"-json", "-count=1"}, all}}) {
		t.Errorf("without a C compiler: %q", got)
	}
}

// What a test prints is shown once if it fails or is skipped, with the long lines cut, and not at all if it passes. So is what
// happens outside tests: a package that does not compile or start, and a test that never ends.
func TestReport(t *testing.T) {
	t.Parallel()
	output := func(pkg, test, text string) string {
		return fmt.Sprintf(`{"Action":"output","Package":"m/%s","Test":%q,"Output":%q}`, pkg, test, text)
	}
	end := func(action, pkg, test string, seconds float64) string {
		return fmt.Sprintf(`{"Action":%q,"Package":"m/%s","Test":%q,"Elapsed":%g}`, action, pkg, test, seconds)
	}
	long := strings.Repeat("ü", 200)
	events := strings.Join([]string{
		output("a", "TestGood", "=== RUN   TestGood\n"), output("a", "TestGood", "of a good test\n"), output("a", "TestBad/row", "    of a row\n"), output("a", "TestBad/row", "--- FAIL: TestBad/row (0.00s)\n"),
		end("fail", "a", "TestBad/row", 0), output("a", "TestBad", long), output("a", "TestBad", long+"\n"), end("pass", "a", "TestGood", 2.5), end("fail", "a", "TestBad", 3),
		output("a", "TestLater", "    why not\n"), end("skip", "a", "TestLater", 0), output("a", "", "FAIL\n"), output("a", "", "FAIL\tm/a\t4s\n"), end("fail", "a", "", 4),
		output("b", "", "no server: please install it\n"), end("fail", "b", "", 0), output("c", "TestStuck", "panic: test timed out\n"), end("fail", "c", "", 9),
		`{"ImportPath":"m/d","Action":"build-output","Output":"d.go:1: undefined\n"}`, output("d", "", "FAIL\tm/d [build failed]\n"), end("fail", "d", "", 0),
		"not of a test", output("e", "", "PASS\n"), end("pass", "e", "", 1),
	}, "\n") + "\n"
	var got strings.Builder
	r := newReport(&got)
	r.read(strings.NewReader(events))
	r.end(1500 * time.Millisecond)
	want := `=== FAIL a TestBad/row
    of a row
--- FAIL: TestBad/row (0.00s)
=== FAIL a TestBad
` + strings.Repeat("ü", 299) + `…
=== SKIP a TestLater
    why not
FAIL     4.00s  a
=== FAIL b
no server: please install it
FAIL     0.00s  b
=== NOT ENDED c TestStuck
panic: test timed out
FAIL     9.00s  c
d.go:1: undefined
FAIL     0.00s  d
not of a test
ok       1.00s  e

the 3 slowest of 3 test functions, whose times overlap:
    3.00s  a TestBad
    2.50s  a TestGood
    0.00s  a TestLater

failed:
  a TestBad/row
  a TestBad
  b
  c
  c TestStuck
  d

DONE 4 tests, 1 skipped, 6 failed in 1.5s
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// At most twenty tests are listed.
func TestSlowest(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	r := newReport(&got)
	for i := range 25 {
		r.add(event{Action: "pass", Package: "m/a", Test: fmt.Sprint("Test", i), Elapsed: float64(i)})
	}
	r.end(0)
	if lines := strings.Count(got.String(), "a Test"); lines != 20 || strings.Contains(got.String(), "Test4\n") || !strings.Contains(got.String(), "Test5\n") {
		t.Errorf("%d tests are listed:\n%s", lines, got.String())
	}
}
