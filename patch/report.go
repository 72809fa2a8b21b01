package patch

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"evolution-openai-patch/patch/postgres"
)

// reporter writes the line of each schema as soon as its database is done, and keeps what the summary and the exit status
// need. It may be used concurrently.
type reporter struct {
	cfg *Config
	log *slog.Logger
	out io.Writer

	mu        sync.Mutex
	expected  int // databases
	databases int // that are done
	absent    int // of these, without the table
	changed   int
	counts    map[Status]int // schemas
	failure   error          // the first in the order of places
	at        place          // of the failure
	writeErr  error          // the first of standard output
}

// newReporter returns a reporter that writes to out and logs to log.
func newReporter(cfg *Config, log *slog.Logger, out io.Writer) *reporter {
	return &reporter{cfg: cfg, log: log, out: out, counts: map[Status]int{}}
}

// expect adds to the number of databases that progress is measured by.
func (p *reporter) expect(databases int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected += databases
}

// write logs and writes the results of one database that is done.
func (p *reporter) write(results []Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.databases++
	if len(results) == 0 {
		p.absent++
	}
	for _, r := range results {
		logNotes(p.log, r)
		p.count(r)
	}
	p.print(results)
}

// count adds a Result to the summary and the exit status.
func (p *reporter) count(r Result) {
	p.counts[r.Status]++
	if r.Changed {
		p.changed++
	}
	if err := failure(p.cfg, r); err != nil && (p.failure == nil || r.place.compare(p.at) < 0) {
		p.failure, p.at = err, r.place
	}
}

// print writes a line for each Result, as text or as JSON.
func (p *reporter) print(results []Result) {
	var b strings.Builder
	for _, r := range results {
		l := newLine(r)
		if p.cfg.LogFormat == FormatJSON {
			text, _ := json.Marshal(l) // cannot fail: strings, bools, lists and maps of these
			b.Write(text)
		} else {
			l.text(&b)
		}
		b.WriteByte('\n')
	}
	if _, err := io.WriteString(p.out, b.String()); err != nil {
		err = fmt.Errorf("%w; not written: %s", err, postgres.OneLine(b.String()))
		p.log.Error("standard output: " + err.Error())
		p.writeErr = cmp.Or(p.writeErr, err)
	}
}

// compare orders places.
func (a place) compare(b place) int {
	return cmp.Or(cmp.Compare(a.target, b.target), cmp.Compare(a.database, b.database), cmp.Compare(a.schema, b.schema))
}

// failure returns what the exit status has to tell of a Result, nil for nothing.
func failure(cfg *Config, r Result) error {
	var stopped Interrupted
	switch {
	case errors.As(r.Err, &stopped) && cfg.watches():
		return nil // a watch that is stopped has done what it was to do
	case r.Err != nil && (cfg.OnError == ErrorFail || errors.As(r.Err, &stopped)):
		return r.Err
	case r.Status == Unpatched && cfg.Action == ActionStatus:
		return errNotInPlace
	}
	return nil
}

// err returns the first error of the results, or that standard output could not be written.
func (p *reporter) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return cmp.Or(p.writeErr, p.failure)
}

// progressInterval is the time between two messages on how far the work is.
const progressInterval = 10 * time.Second

// logProgress logs how far the work is until stop is called, where there are several databases.
func (p *reporter) logProgress() (stop func()) {
	done := make(chan struct{})
	ticker := time.NewTicker(progressInterval)
	go func() {
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				p.mu.Lock()
				if p.expected > 1 {
					p.log.Info("working", "databases_done", p.databases, "databases", p.expected)
				}
				p.mu.Unlock()
			}
		}
	}()
	return func() { close(done) }
}

// logSummary logs one line about all results, where there may be several.
func (p *reporter) logSummary() {
	p.mu.Lock()
	defer p.mu.Unlock()
	var parts []string
	total := 0
	for _, status := range []Status{Patched, Guarded, Pending, Unpatched, Failed} {
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
	if total == 1 && p.absent == 0 && p.expected <= 1 {
		return
	}
	if p.absent > 0 {
		parts = append(parts, fmt.Sprintf("%d databases without the table", p.absent))
	}
	p.log.Info("done: " + cmp.Or(strings.Join(parts, ", "), "no database matches"))
}

// changedStatus is the status that a change leads to.
func (p *reporter) changedStatus() Status {
	if p.cfg.Action == ActionRevert {
		return Unpatched
	}
	return Patched
}
