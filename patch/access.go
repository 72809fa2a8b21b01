package patch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// access counts the databases that a pattern found, and those among them that the role is kept out of.
type access struct {
	mu          sync.Mutex
	found, kept int
	reason      string // the first of all in alphabetical order
}

// errNoConnect is why the role is kept out of a database on which it lacks CONNECT, as the catalog says.
var errNoConnect = errors.New("grant it CONNECT on those that are to be patched, or connect as another role")

// count counts a database, and why the role is kept out of it, nil if it is not.
func (a *access) count(keptOut error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.found++
	if keptOut == nil {
		return
	}
	a.kept++
	if reason := explain(keptOut); a.reason == "" || reason < a.reason {
		a.reason = reason
	}
}

// err returns an error if the role is kept out of every database that was found, and nil if there are others or none: where a provider
// has a database of its own beside Evolution's, nothing is wrong.
func (a *access) err() error {
	if a.kept == 0 || a.kept < a.found {
		return nil
	}
	return &keptOutError{a.kept, a.reason}
}

// keptOutError reports that the role is kept out of every database that a pattern found.
type keptOutError struct {
	databases int
	reason    string
}

func (e *keptOutError) Error() string {
	return fmt.Sprintf("this role may connect to none of the databases that PATCH_DATABASES finds (%d): %s", e.databases, e.reason)
}

// logKeptOut says that the role is kept out of the database, and why.
func (d *database) logKeptOut(why error) {
	d.log.Info("a database that was found is left out, because this role may not connect to it", "reason", explain(why))
}

// checkAccess makes it a failure if the role is kept out of every database that was found.
func (w *watch) checkAccess(ctx context.Context) {
	err := w.access().err()
	if err == nil {
		w.noAccess = nil
		return
	}
	w.noAccess = w.compare(w.noAccess, w.failedResult(ctx, err))
}

// access returns how many of the databases that were found the role is kept out of.
func (w *watch) access() *access {
	a := new(access)
	for range w.noConnect {
		a.count(errNoConnect)
	}
	for name, one := range w.watched {
		if !slices.Contains(w.Databases.Names, name) {
			a.count(one.keptOut)
		}
	}
	return a
}
