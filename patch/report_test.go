package patch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
)

// resultOf returns a Result at a place.
func resultOf(status plan.Status, err error, at place) *Result {
	return &Result{Target: "h:1/d", Assessment: plan.EveryFix(plan.Fixes[:3], status), Err: err, place: at}
}

// The exit status tells of an error, unless it is to be passed over; of a fix that is not in place only to status; and of a
// signal always, unless a watch is what it ended.
func TestFailure(t *testing.T) {
	stopped := fmt.Errorf("x: %w", Interrupted{syscall.SIGTERM})
	watch := config.Interval{Duration: time.Second}
	for name, c := range map[string]struct {
		cfg  config.Config
		r    *Result
		want int
	}{
		"done":                     {config.Config{Action: config.ActionApply, OnError: config.ErrorFail}, resultOf(plan.Patched, nil, place{}), 0},
		"failed":                   {config.Config{Action: config.ActionApply, OnError: config.ErrorFail}, resultOf(plan.Failed, io.EOF, place{}), 1},
		"failed, passed over":      {config.Config{Action: config.ActionApply, OnError: config.ErrorContinue}, resultOf(plan.Failed, io.EOF, place{}), 0},
		"stopped":                  {config.Config{Action: config.ActionApply, OnError: config.ErrorFail}, resultOf(plan.Failed, stopped, place{}), 143},
		"stopped, not passed over": {config.Config{Action: config.ActionApply, OnError: config.ErrorContinue}, resultOf(plan.Failed, stopped, place{}), 143},
		"watch stopped":            {config.Config{Action: config.ActionApply, OnError: config.ErrorFail, Watch: watch}, resultOf(plan.Patched, stopped, place{}), 0},
		"watch failed":             {config.Config{Action: config.ActionApply, OnError: config.ErrorFail, Watch: watch}, resultOf(plan.Failed, io.EOF, place{}), 1},
		"health check stopped":     {config.Config{Action: config.ActionStatus, OnError: config.ErrorFail, Watch: watch}, resultOf(plan.Failed, stopped, place{}), 143},
		"status, not in place":     {config.Config{Action: config.ActionStatus, OnError: config.ErrorFail}, resultOf(plan.Unpatched, nil, place{}), 5},
		"status, passed over":      {config.Config{Action: config.ActionStatus, OnError: config.ErrorContinue}, resultOf(plan.Unpatched, nil, place{}), 5},
		"status, pending":          {config.Config{Action: config.ActionStatus, OnError: config.ErrorFail}, resultOf(plan.Pending, nil, place{}), 0},
		"reverted":                 {config.Config{Action: config.ActionRevert, OnError: config.ErrorFail}, resultOf(plan.Unpatched, nil, place{}), 0},
	} {
		if got := exitStatus(exitError(&c.cfg, c.r)); got != c.want {
			t.Errorf("%s: exit status %d, want %d", name, got, c.want)
		}
	}
}

// broken is a full disk, or whatever else cannot be written to.
type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

// The exit status is that of the first failure in the order of targets, databases and schemas, however they come in. A
// report that cannot be written is a failure, and the log has it.
func TestFirstFailure(t *testing.T) {
	cfg := &config.Config{Action: config.ActionApply, OnError: config.ErrorFail, LogFormat: config.FormatText}
	var log bytes.Buffer
	p := newReporter(cfg, newLogger(*cfg, &log), io.Discard)
	first := &plan.RefusedError{Reason: "first"}
	p.add([]*Result{resultOf(plan.Failed, io.EOF, place{1, "a", "a"}), resultOf(plan.Failed, io.EOF, place{0, "b", "b"})})
	p.add([]*Result{resultOf(plan.Failed, first, place{0, "b", "a"}), resultOf(plan.Patched, nil, place{0, "a", "a"})})
	p.add([]*Result{resultOf(plan.Failed, io.EOF, place{0, "c", "a"}), resultOf(plan.Failed, io.EOF, place{0, "b", "a"})})
	if err := p.err(); !errors.Is(err, first) {
		t.Errorf("%v, want %v", err, first)
	}
	p = newReporter(cfg, newLogger(*cfg, &log), broken{syscall.ENOSPC})
	p.add([]*Result{resultOf(plan.Patched, nil, place{Schema: "s"})})
	if err := p.err(); exitStatus(err) != 1 || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(log.String(), "not written: patched: h:1/d schema=s") {
		t.Errorf("%v, and the log is %s", err, log.String())
	}
}

// TestSummary gives the last line of the log for all that can be counted.
func TestSummary(t *testing.T) {
	changed := resultOf(plan.Patched, nil, place{})
	changed.Changed = true
	for want, results := range map[string][][]*Result{
		"":                            {{changed}},
		"done: no database matches":   {},
		"done: 2 patched":             {{resultOf(plan.Patched, nil, place{}), resultOf(plan.Patched, nil, place{})}},
		"done: 2 patched (1 changed)": {{changed, resultOf(plan.Patched, nil, place{})}},
		"done: 1 patched (1 changed), 1 guarded, 1 pending, 1 unpatched, 1 failed": {{
			changed, resultOf(plan.Guarded, nil, place{}), resultOf(plan.Pending, nil, place{}), resultOf(plan.Unpatched, nil, place{}), resultOf(plan.Failed, io.EOF, place{}),
		}},
		"done: 1 patched (1 changed), 1 database without the table":                                                {{changed}, {}},
		"done: 1 patched (1 changed), 2 databases without the table":                                               {{changed}, {}, {}},
		"done: 1 patched (1 changed), 1 database that this role may not connect to":                                {{changed}},
		"done: 1 patched (1 changed), 1 database without the table, 2 databases that this role may not connect to": {{changed}, {}},
	} {
		cfg := &config.Config{Action: config.ActionApply, LogFormat: config.FormatText}
		var log bytes.Buffer
		p := newReporter(cfg, newLogger(*cfg, &log), io.Discard)
		for _, of := range results {
			p.add(of)
		}
		p.keptOut(strings.Count(want, "may not connect") * len(results))
		if want != "" {
			want = fmt.Sprintf("level=INFO msg=%q\n", want)
		}
		if p.logSummary(); !strings.HasSuffix(log.String(), want) || want == "" && log.Len() > 0 {
			t.Errorf("%s, want %q", log.String(), want)
		}
	}
}

// After a revert, the changed ones are among those that are not patched.
func TestSummaryOfRevert(t *testing.T) {
	var log bytes.Buffer
	cfg := &config.Config{Action: config.ActionRevert, LogFormat: config.FormatText}
	p := newReporter(cfg, newLogger(*cfg, &log), io.Discard)
	reverted := resultOf(plan.Unpatched, nil, place{})
	reverted.Changed, reverted.Notes = true, []note{{slog.LevelWarn, "a note", nil}}
	p.write([]*Result{reverted, resultOf(plan.Patched, nil, place{})})
	if p.logSummary(); !strings.Contains(log.String(), "done: 1 patched, 1 unpatched (1 changed)") || !strings.Contains(log.String(), "a note") {
		t.Error(log.String())
	}
}

// The report has one line for each Result, as text or as JSON.
func TestReportLines(t *testing.T) {
	for format, want := range map[config.LogFormat]string{
		config.FormatText: "patched: h:1/d schema=s changed=false apikey-index=patched apikey-check=patched name-index=patched\n",
		config.FormatJSON: `{"target":"h:1/d","schema":"s","state":"patched","changed":false,"fixes":{"apikey-check":"patched","apikey-index":"patched","name-index":"patched"},"evolution":"","error":""}` + "\n",
	} {
		var out bytes.Buffer
		p := newReporter(&config.Config{LogFormat: format}, newLogger(config.Config{}, io.Discard), &out)
		p.add([]*Result{resultOf(plan.Patched, nil, place{Schema: "s"}), resultOf(plan.Patched, nil, place{Schema: "s"})})
		p.add([]*Result{resultOf(plan.Patched, nil, place{Schema: "s"})})
		if out.String() != want+want+want {
			t.Errorf("%s", out.String())
		}
	}
}
