package pgtest

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"evolution-openai-patch/patch"
)

// Settings that many tests use.
const (
	IndexOnly = "PATCH_FIXES=apikey-index"

	KeepNoNames = "PATCH_KEEP_INDEX_NAMES=false"
	AllFixes    = "PATCH_FIXES=apikey-index,apikey-check,name-index"
	Guard       = "PATCH_ON_MISSING_TABLE=guard"
	Shortly     = "PATCH_WAIT_TIMEOUT=" + ShortWait
	ShortWait   = "15s" // for what never comes: an attempt, or all else, is done in that time on a busy machine, too
)

// Patient are limits that no run exceeds on any machine, unless it waits for something that does not come. A test of a limit sets
// that limit.
var Patient = []string{"PATCH_CONNECT_TIMEOUT=1m", "PATCH_WAIT_TIMEOUT=10m", "PATCH_LOCK_RETRY=10m"}

// Outcome is the result of a run of the program.
type Outcome struct {
	Code           int // exit status
	Stdout, Stderr string
}

// Run runs the program as a function with an environment, to which PATCH_LOG_LEVEL=debug and long limits are added.
func Run(t testing.TB, environ ...string) Outcome {
	t.Helper()
	return RunContext(context.Background(), t, environ...)
}

// RunContext is like Run with a context.
func RunContext(ctx context.Context, t testing.TB, environ ...string) Outcome {
	t.Helper()
	o := RunArgs(ctx, nil, slices.Concat([]string{"PATCH_LOG_LEVEL=debug"}, Patient, environ))
	logOutcome(t, o, environ)
	return o
}

// RunArgs runs the program as a function with arguments and exactly this environment.
func RunArgs(ctx context.Context, args, environ []string) Outcome {
	var stdout, stderr bytes.Buffer
	code := patch.Main(ctx, args, environ, &stdout, &stderr)
	o := Outcome{code, stdout.String(), stderr.String()}
	Record(o)
	return o
}

// Patch runs the program as a function against the database.
func (d *Database) Patch(environ ...string) Outcome {
	d.t.Helper()
	return Run(d.t, append([]string{"DATABASE_CONNECTION_URI=" + d.URI()}, environ...)...)
}

// PatchFiftyAtOnce runs the program fifty times at the same time. All runs must succeed and print state, and one of them
// must have changed the database.
func (d *Database) PatchFiftyAtOnce(state string, environ ...string) {
	d.t.Helper()
	outcomes := make(chan Outcome)
	for range 50 {
		go func() { outcomes <- d.Patch(environ...) }()
	}
	changed := 0
	for range 50 {
		o := <-outcomes
		o.Expect(d.t, 0, state)
		changed += strings.Count(o.Stdout, "changed=true")
	}
	if changed != 1 {
		d.t.Errorf("%d of 50 runs report a change, want 1", changed)
	}
}

// logOutcome writes a run to the test's log, with those variables that hold no secrets.
func logOutcome(t testing.TB, o Outcome, environ []string) {
	t.Helper()
	shown := slices.DeleteFunc(slices.Clone(environ), func(v string) bool { return !strings.HasPrefix(v, "PATCH_") || slices.Contains(Patient, v) })
	t.Logf("%s → exit %d\n%s%s", strings.Join(shown, " "), o.Code, o.Stderr, o.Stdout)
}

// Expect checks the exit status and that each of the words is in the output. A state such as "patched: " must begin a
// line of the report on standard output, and "changed=true" must be a whole word of such a line.
func (o Outcome) Expect(t testing.TB, code int, words ...string) {
	t.Helper()
	if o.Code != code {
		t.Errorf("exit status %d, want %d\n%s%s", o.Code, code, o.Stderr, o.Stdout)
	}
	for _, w := range words {
		if !o.contains(w) {
			t.Errorf("%q is not in the output:\n%s%s", w, o.Stderr, o.Stdout)
		}
	}
}

// ExpectCode checks that the exit status is one of several.
func (o Outcome) ExpectCode(t testing.TB, codes ...int) {
	t.Helper()
	if !slices.Contains(codes, o.Code) {
		t.Errorf("exit status %d, want one of %v\n%s%s", o.Code, codes, o.Stderr, o.Stdout)
	}
}

// ExpectNot checks that none of the words is in the output.
func (o Outcome) ExpectNot(t testing.TB, words ...string) {
	t.Helper()
	for _, w := range words {
		if strings.Contains(o.Stdout+o.Stderr, w) {
			t.Errorf("%q is in the output:\n%s%s", w, o.Stderr, o.Stdout)
		}
	}
}

// reportLine matches a line of the report as text.
var reportLine = regexp.MustCompile(`(?m)^(patched|pending|guarded|unpatched|failed): .*$`)

// contains looks for one of Expect's words.
func (o Outcome) contains(word string) bool {
	isState := reportLine.FindString(word) == word && strings.HasSuffix(word, ": ")
	isChanged := strings.HasPrefix(word, "changed=")
	if !isState && !isChanged {
		return strings.Contains(o.Stdout+o.Stderr, word)
	}
	return slices.ContainsFunc(reportLine.FindAllString(o.Stdout, -1), func(line string) bool {
		return isState && strings.HasPrefix(line, word) || isChanged && slices.Contains(strings.Fields(line), word)
	})
}
