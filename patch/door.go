package patch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// door counts the databases that a pattern found, and those among them that the role is kept out of.
type door struct {
	mu          sync.Mutex
	found, kept int
	reason      string // the first of all in alphabetical order
}

// errClosed is why the role is kept out of a database on which it lacks CONNECT, as the catalog says.
var errClosed = errors.New("grant it CONNECT on those that are to be patched, or connect as another role")

// try counts a database, and why the role is kept out of it, nil if it is not.
func (d *door) try(keptOut error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.found++
	if keptOut == nil {
		return
	}
	d.kept++
	if reason := explain(keptOut); d.reason == "" || reason < d.reason {
		d.reason = reason
	}
}

// err returns an error if the role is kept out of every database that was found, and nil if there are others or none: where a provider
// has a database of its own beside Evolution's, nothing is wrong.
func (d *door) err() error {
	if d.kept == 0 || d.kept < d.found {
		return nil
	}
	return &keptOutError{d.kept, d.reason}
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

// checkDoor makes it a failure if the role is kept out of every database that was found.
func (w *watch) checkDoor(ctx context.Context) {
	err := w.door().err()
	if err == nil {
		w.outside = nil
		return
	}
	w.outside = w.compare(w.outside, w.failure(ctx, err))
}

// door returns how many of the databases that were found the role is kept out of.
func (w *watch) door() *door {
	d := new(door)
	for range w.closed {
		d.try(errClosed)
	}
	for name, one := range w.watched {
		if !slices.Contains(w.Databases.Names, name) {
			d.try(one.keptOut)
		}
	}
	return d
}
