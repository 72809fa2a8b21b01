package patch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/quote"
)

// keep reports whether the connection stays open while it is not used.
func (d *database) keep() bool { return d.limiter.keepsAll() }

// acquire waits until a connection may be made. If ctx ends first, slot stays false and connect returns the cause.
func (d *database) acquire(ctx context.Context) {
	if !d.slot {
		d.slot = d.limiter.acquire(ctx, d.attempts > 0) == nil
	}
}

// connect makes the connection if there is none, and if nothing is known that would make a login stall.
func (d *database) connect(ctx context.Context) error {
	if d.conn != nil {
		return nil
	}
	name, stale := d.target.Database(), time.Now().Add(-time.Second)
	for d.acquire(ctx); d.slot && d.limiter.outdated(name, stale); d.acquire(ctx) {
		d.disconnect()
		d.fleet.listLocks(ctx, name, stale)
	}
	return d.logIn(ctx)
}

// logIn makes the connection, unless it is known that the login would stall.
func (d *database) logIn(ctx context.Context) error {
	if d.acquire(ctx); !d.slot {
		return context.Cause(ctx)
	}
	reserved, err := d.limiter.admit(d.target.Database())
	if err != nil {
		d.disconnect()
		return err
	}
	conn, err := d.target.Connect(ctx, d.cfg.ConnectTimeout.Duration)
	d.limiter.setDown(postgres.Unreachable(err))
	if err != nil {
		d.abandon(err, reserved)
		if !d.named && !d.entered && postgres.KeptOut(err) {
			d.keptOut = err
		}
		if d.fleet.PasswordHint != "" && postgres.SQLState(err) == postgres.InvalidPassword {
			err = &passwordError{d.fleet.PasswordHint, err}
		}
		if postgres.NoDatabase(err) {
			err = d.missing("database ", "")
			if d.named { // another was dropped after it had been found
				err = retryUntilPresent(d.cfg, err)
			}
		}
		return err
	}
	d.conn, d.entered = conn, true
	d.limiter.loginEnded(d.target.Database(), reserved)
	d.log.Log(ctx, d.cfg.ItemLevel(), "connected", "server", conn.ServerVersion(), "role", d.target.User())
	if major := conn.MajorVersion(); major < oldestTested || major > newestTested {
		d.log.Debug("this version of the program was not tested with this major of PostgreSQL", "major", major)
	}
	return nil
}

// The majors of PostgreSQL that this version was tested with, the first and the last of scripts/postgres-majors.
const (
	oldestTested = 13
	newestTested = 18
)

// missing returns the error for a database that is missing, or in which something is. The remedy is what to do about it
// where a guard is requested.
func (d *database) missing(what, noGuard string) error {
	missing := &MissingError{what: what + quote.Identifier(d.target.Database()), again: d.cfg.Action == config.ActionApply && !d.cfg.WaitsForTable(), watched: d.cfg.Watches()}
	if d.cfg.OnMissingTable == config.MissingGuard && d.cfg.MayChange() {
		missing.noGuard = noGuard
	}
	return missing
}

// maxDisconnects is how often a connection that was made may be lost in one run. Fewer losses are treated as a restart of
// the server.
const maxDisconnects = 3

// reconnect drops a broken connection, so that the next attempt makes a new one. The last loss allowed is an error.
func (d *database) reconnect(err error) error {
	d.disconnect()
	if d.disconnects++; d.disconnects >= maxDisconnects && postgres.ConnectionLost(err) {
		return fmt.Errorf("the connection was lost %d times: %s", d.disconnects, explain(err))
	}
	return err
}

// recover does what is to be done about a connection that an attempt has broken. Where the schema fails for good, the next one gets
// another connection; else the next attempt does.
func (d *database) recover(ctx context.Context, err error) error {
	switch {
	case d.conn.Usable():
		return err
	case !postgres.Retryable(err):
		d.disconnect()
		return cmp.Or(d.connect(ctx), err)
	}
	return d.reconnect(err)
}

// abandon allows another session in the place of one that could not be begun.
func (d *database) abandon(err error, reserved bool) {
	d.slot = false
	var abandoned *postgres.AbandonedError
	if errors.As(err, &abandoned) {
		d.limiter.loginStalled(d.target.Database(), reserved, abandoned.Ended)
		return
	}
	d.limiter.loginEnded(d.target.Database(), reserved)
	d.limiter.free()
}

// disconnect closes the connection, if there is one, and allows another in its place.
func (d *database) disconnect() {
	conn, slot := d.conn, d.slot
	d.conn, d.slot = nil, false
	switch {
	case conn != nil:
		go d.limiter.release(conn.Close())
	case slot:
		d.limiter.free()
	}
}
