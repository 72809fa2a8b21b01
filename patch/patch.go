// Package patch lets the instances of an Evolution API share one OpenAI API key, by taking what forbids it out of the
// application's PostgreSQL database.
//
// The program is one straight line:
//
//	environment → Config → for each Target: connect (wait) → inspect → plan → apply (one transaction, verified) → Result
//
// What is known of Evolution stands as data in evolution.go, all DDL is composed from it in plan.go and guard.go, and what
// the catalog says is read by inspect.sql, background.sql and, where the keys are concerned, padding.sql.
package patch

import (
	"context"
	"log/slog"
	"sync"
)

// Run handles every target of cfg to its end, in the order given, and returns a Result for each schema. It never gives
// up half-way: what failed carries its error in Result.Err. Cancelling ctx ends it with context.Cause(ctx) as the error.
func Run(ctx context.Context, cfg Config, log *slog.Logger) []Result {
	if len(cfg.Completed) > 0 {
		log.Info("PATCH_FIXES is completed, as some fixes are of use only together", "added", cfg.Completed)
	}
	results := make([]Result, len(cfg.Targets))
	var group sync.WaitGroup
	for i, target := range cfg.Targets {
		w := &worker{cfg: cfg, target: target, log: log.With("target", target.String(), "schema", target.Schema)}
		if cfg.Watch > 0 && cfg.Action == "apply" {
			group.Go(func() { results[i] = w.watch(ctx) })
			continue
		}
		results[i] = w.handle(ctx, cfg.WaitTimeout)
		w.tell(results[i])
		w.disconnect()
	}
	group.Wait()
	return results
}

// Status is the word for where a schema, or one fix in it, stands.
type Status string

// The words of the report.
const (
	Patched   Status = "patched"   // every fix asked for holds
	Pending   Status = "pending"   // no table yet
	Guarded   Status = "guarded"   // no table yet, guard armed
	Unpatched Status = "unpatched" // a fix is not in place
	Failed    Status = "failed"
)

// Result is what became of one schema of one target.
type Result struct {
	Target  string // host:port/database
	Schema  string
	Status  Status
	Changed bool
	Unknown bool              // whether it changed is not known: the answer to COMMIT never came
	Fixes   map[string]Status // by the fix's name
	Found   map[string]string // what there is of each fix, by its name
	Before  State             // what was found; the zero State if nothing could be read
	After   State             // what was verified before the commit; Before if nothing was changed
	SQL     []string          // what a dry run would execute
	Err     error
	notice  string // why there is nothing to do yet, "" if there is
}
