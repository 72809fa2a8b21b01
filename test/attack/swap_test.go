package attack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

// trySwap swaps the two schemas, or not if a lock prevents it for longer than a moment.
func (a *attack) trySwap(c *pgx.Conn, sql string) {
	a.t.Helper()
	pgtest.Exec(a.t, c, `SET lock_timeout = '300ms'`)
	if _, err := c.Exec(context.Background(), sql); err != nil {
		a.t.Logf("the schemas stay where they are: %v", err)
		pgtest.Exec(a.t, c, `ROLLBACK`)
	}
}

// statementTrap is a trigger in the schema that takes the place of Evolution's, and the function that revert drops.
const statementTrap = `CREATE TRIGGER zz_trap BEFORE UPDATE ON trap_api."OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION evil.spring();
	CREATE FUNCTION trap_api.evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`

// The table belongs to the superuser, but its schema to evo, who swaps the schemas while revert waits to drop the function.
func TestAttackOnATableInAnothersSchema(t *testing.T) {
	t.Parallel()
	a := newAttack(t, "evo")
	a.startEvolution(a.Conn)
	a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ")
	a.Exec(fmt.Sprintf(`GRANT SELECT ON ALL TABLES IN SCHEMA evolution_api TO %s`, a.evo))
	a.createSwapSchema(statementTrap)
	pgtest.Exec(t, a.asEvo, `CREATE FUNCTION evolution_api.g() RETURNS int LANGUAGE sql AS 'SELECT 1'`)
	second, third, fourth := a.login(a.evo), a.login(a.evo), a.login(a.evo)
	pgtest.Exec(t, third, `BEGIN; DROP FUNCTION evolution_api.g()`)
	dropped := make(chan error, 1)
	go func() { // the owner of a schema may drop what is in it; this waits for the other function, and holds the first
		_, err := second.Exec(context.Background(), `SET lock_timeout = 0; DROP FUNCTION evolution_api.evolution_openai_patch(), evolution_api.g()`)
		dropped <- err
	}()
	pgtest.MustUntil(t, func() error {
		if a.Text(`SELECT cardinality(pg_blocking_pids($1)) > 0`, int(second.PgConn().PID())) != "true" {
			return errors.New("evo does not wait for its own lock")
		}
		return nil
	})
	r := a.startBlocked("postgres", pgtest.AllFixes, "PATCH_ACTION=revert")
	r.waitUntilBlockedBy(second)
	a.trySwap(fourth, swap)
	pgtest.Exec(t, fourth, `SELECT pg_cancel_backend($1)`, int(second.PgConn().PID()))
	<-dropped
	pgtest.Exec(t, third, `ROLLBACK`)
	r.wait("the schemas were swapped").ExpectCode(t, 0, 1, 3, 4)
}

// The program waits for the row of the schema's name, which has another name by then: so it holds no row, and must end the
// attempt. Its lock is on the table in trap_api, but the catalog is again what it inspected. The traps are in a third schema.
func TestAttackOnTheRowOfTheSchemasName(t *testing.T) {
	t.Parallel()
	a := newAttackOnEvolution(t)
	a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ")
	a.createSwapSchema(`CREATE SCHEMA other_api; CREATE TABLE other_api."OpenaiCreds" (LIKE "OpenaiCreds");` + strings.ReplaceAll(statementTrap, "trap_api", "other_api"))
	second, third, fourth, fifth := a.login(a.evo), a.login(a.evo), a.login(a.evo), a.login(a.evo)
	pgtest.Exec(t, fifth, `BEGIN; ALTER FUNCTION evolution_api.evolution_openai_patch() COST 200`)
	pgtest.Exec(t, fourth, `BEGIN; LOCK TABLE trap_api."OpenaiCreds" IN SHARE ROW EXCLUSIVE MODE`)
	pgtest.Exec(t, a.asEvo, `BEGIN; LOCK TABLE evolution_api."OpenaiCreds" IN SHARE ROW EXCLUSIVE MODE`)
	r := a.startBlocked("postgres", pgtest.AllFixes, "PATCH_ACTION=revert")
	r.waitUntilBlockedBy(a.asEvo)
	pgtest.Exec(t, third, swap)
	pgtest.Exec(t, a.asEvo, `COMMIT`)
	r.waitUntilBlockedBy(fourth)
	pgtest.Exec(t, second, strings.TrimSuffix(swapBack, "; COMMIT"))
	pgtest.Exec(t, fourth, `COMMIT`)
	r.waitUntilBlockedBy(second)
	pgtest.Exec(t, second, `COMMIT`)
	r.waitUntilBlockedBy(fifth)
	a.trySwap(third, strings.ReplaceAll(swap, "trap_api", "other_api"))
	pgtest.Exec(t, fifth, `ROLLBACK`)
	r.wait("the schemas were swapped").ExpectCode(t, 0, 1, 3, 4)
}
