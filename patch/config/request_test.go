package config

import (
	"reflect"
	"testing"

	"evolution-openai-patch/patch/plan"
)

// TestRequest holds what is asked of a schema against the configuration.
func TestRequest(t *testing.T) {
	fixes, reversed := plan.Fixes[:2], []plan.Fix{plan.Fixes[1], plan.Fixes[0]}
	for _, c := range []struct {
		cfg  Config
		want plan.Request
	}{
		{Config{Action: ActionApply}, plan.Request{Schema: "s", Fixes: fixes}},
		{Config{Action: ActionStatus, KeepNames: true}, plan.Request{Schema: "s", Fixes: fixes, KeepNames: true}},
		{Config{Action: ActionRevert}, plan.Request{Schema: "s", Fixes: reversed, Goal: plan.Revert}},
		{Config{OnMissingTable: MissingGuard}, plan.Request{Schema: "s", Fixes: fixes, Guard: true}},
		{Config{OnMissingTable: MissingWait}, plan.Request{Schema: "s", Fixes: fixes}},
	} {
		c.cfg.Fixes.Named = fixes
		if got := c.cfg.Request(plan.State{Schema: "s"}); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}
