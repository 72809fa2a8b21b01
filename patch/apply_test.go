package patch

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"evolution-openai-patch/patch/catalog"
	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
)

// TestGuardFailures holds what PostgreSQL says of a change to a guard against what becomes of it.
func TestGuardFailures(t *testing.T) {
	for code, want := range map[string]struct{ apply, again bool }{
		"42501": {apply: true}, "55P03": {apply: true}, "40P01": {apply: true}, "42601": {},
		"42P06": {true, true}, "42710": {true, true}, "42723": {true, true}, "23505": {true, true}, "3F000": {true, true}, "42704": {true, true}, "XX000": {true, true},
	} {
		for _, goal := range []plan.Goal{plan.Apply, plan.Revert} {
			c := change{cfg: &config.Config{}, request: plan.Request{Goal: goal, Guard: true}, before: catalog.Inspection{State: plan.State{Schema: "s"}}}
			err := c.explainFailure(t.Context(), &pgconn.PgError{Code: code, Message: "tuple concurrently updated"})
			var missing *MissingError
			if errors.As(err, &missing) != (want.apply && goal == plan.Apply) || postgres.Retryable(err) != want.again || postgres.ConnectionLost(err) {
				t.Errorf("%s, goal %d: %v", code, goal, err)
			}
		}
	}
}
