package patch

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
)

// reporter writes the line of each schema as soon as its database is done, and keeps what the summary and the exit status
// need. It may be used concurrently.
type reporter struct {
	cfg *config.Config
	log *slog.Logger
	out io.Writer

	mu       sync.Mutex
	absent   int                 // databases without the table
	kept     int                 // databases that a pattern found and that the role is kept out of
	changed  int                 // schemas
	counts   map[plan.Status]int // of schemas
	exitErr  error               // what the exit status tells: the first in the order of places
	exitAt   place               // where it is from
	writeErr error               // the first of standard output
}

// newReporter returns a reporter that writes to out and logs to log.
func newReporter(cfg *config.Config, log *slog.Logger, out io.Writer) *reporter {
	return &reporter{cfg: cfg, log: log, out: out, counts: map[plan.Status]int{}}
}

// write logs and writes the results of one database that is done.
func (p *reporter) write(results []*Result) {
	for _, r := range results {
		logNotes(p.log, r)
		logWarnings(p.log, r, nil)
	}
	p.add(results)
}

// add writes the results of one database or watch, of which the log has said everything.
func (p *reporter) add(results []*Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(results) == 0 {
		p.absent++
	}
	for _, r := range results {
		p.count(r)
	}
	p.print(results)
}

// keptOut counts databases that a pattern found and that the role is kept out of.
func (p *reporter) keptOut(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept += n
}

// count adds a Result to the summary and the exit status.
func (p *reporter) count(r *Result) {
	p.counts[r.Status]++
	if r.Changed {
		p.changed++
	}
	if err := exitError(p.cfg, r); err != nil && (p.exitErr == nil || r.place.compare(p.exitAt) < 0) {
		p.exitErr, p.exitAt = err, r.place
	}
}

// print writes a line for each Result.
func (p *reporter) print(results []*Result) {
	for _, r := range results {
		text := newLine(r).write(p.cfg.LogFormat)
		if _, err := io.WriteString(p.out, text+"\n"); err != nil {
			err = fmt.Errorf("%w; not written: %s", err, postgres.OneLine(text))
			p.log.Error("standard output: " + err.Error())
			p.writeErr = cmp.Or(p.writeErr, err)
		}
	}
}

// exitError returns what the exit status has to tell of a Result, nil for nothing.
func exitError(cfg *config.Config, r *Result) error {
	var stopped Interrupted
	switch {
	case errors.As(r.Err, &stopped) && cfg.Watches():
		return nil // a watch that is stopped has done what it was to do
	case r.Err != nil && (cfg.OnError == config.ErrorFail || errors.As(r.Err, &stopped)):
		return r.Err
	case r.Status == plan.Unpatched && cfg.Action == config.ActionStatus:
		return errNotInPlace
	}
	return nil
}

// err returns the first error of the results, or that standard output could not be written.
func (p *reporter) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return cmp.Or(p.writeErr, p.exitErr)
}

// logSummary logs one line about all results, where there may be several.
func (p *reporter) logSummary() {
	p.mu.Lock()
	defer p.mu.Unlock()
	var parts []string
	total := 0
	for _, status := range []plan.Status{plan.Patched, plan.Guarded, plan.Pending, plan.Unpatched, plan.Failed} {
		n := p.counts[status]
		if total += n; n == 0 {
			continue
		}
		part := fmt.Sprintf("%d %s", n, status)
		if status == p.changedStatus() && p.changed > 0 {
			part += fmt.Sprintf(" (%d changed)", p.changed)
		}
		parts = append(parts, part)
	}
	if total == 1 && p.absent+p.kept == 0 {
		return
	}
	for _, left := range []struct {
		n            int
		one, several string
	}{
		{p.absent, "1 database without the table", "%d databases without the table"},
		{p.kept, "1 database that this role may not connect to", "%d databases that this role may not connect to"},
	} {
		switch left.n {
		case 0:
		case 1:
			parts = append(parts, left.one)
		default:
			parts = append(parts, fmt.Sprintf(left.several, left.n))
		}
	}
	p.log.Info("done: " + cmp.Or(strings.Join(parts, ", "), "no database matches"))
}

// changedStatus is the status that a change leads to.
func (p *reporter) changedStatus() plan.Status {
	if p.cfg.Action == config.ActionRevert {
		return plan.Unpatched
	}
	return plan.Patched
}
