package test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestArguments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"version"}, 0, "dev\n"},
		{[]string{"-v"}, 0, "dev\n"},
		{[]string{"--version"}, 0, "dev\n"},
		{[]string{"help"}, 0, "PATCH_ACTION (default apply)\n"},
		{[]string{"-h"}, 0, "\nExit status:\n"},
		{[]string{"--help"}, 0, "share one OpenAI API key"},
		{[]string{"status"}, 2, "DATABASE_CONNECTION_URI: "},
		{[]string{"aply"}, 2, pgtest.UnknownArgument},
		{[]string{"status", "--verbose"}, 2, pgtest.UnknownArgument},
		{[]string{"postgresql://u:" + pgtest.Password + "@h/d"}, 2, pgtest.UnknownArgument},
	} {
		o := pgtest.RunArgs(context.Background(), c.args, nil)
		o.Expect(t, c.code, c.says)
		if quiet := map[int]string{0: o.Stderr, 2: o.Stdout}[c.code]; quiet != "" || strings.Count(o.Stderr, "\n") > 1 {
			t.Errorf("%v: standard output %q, standard error %q", c.args, o.Stdout, o.Stderr)
		}
	}
	d := pgtest.NewEvolution(t, "public")
	pgtest.RunArgs(context.Background(), []string{"status"}, []string{"DATABASE_CONNECTION_URI=" + d.URI(), "PATCH_ACTION=apply"}).
		Expect(t, 5, "unpatched: ")
}

// An argument runs once, beside a watch too, whose environment it may have. A revert says who will undo it.
func TestArgumentsRunOnce(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	environ := []string{"DATABASE_CONNECTION_URI=" + d.URI(), "PATCH_WATCH=1h", pgtest.AllFixes}
	watch := pgtest.Start(t, environ...)
	watch.WaitFor(`msg=` + pgtest.Watching)
	run := func(argument string) pgtest.Outcome {
		return pgtest.RunArgs(context.Background(), []string{argument}, environ)
	}
	run("status").Expect(t, 0, "patched: ")
	pid := d.Text(`SELECT coalesce(string_agg(pid::text, ','), '') FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'evolution-openai-patch watch'`)
	run("revert").Expect(t, 0, "unpatched: ", "changed=true", pgtest.WatchConnected+"pid "+pid)
	run("apply").Expect(t, 0, "patched: ", "changed=true")
	watch.Stop(syscall.SIGTERM).Expect(t, 0)
	pgtest.MustUntil(t, func() error {
		if n := d.Text(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid = ` + pid); n != "0" {
			return errors.New("the session of the watch has not ended")
		}
		return nil
	})
	o := run("revert")
	o.Expect(t, 0, "unpatched: ", "changed=true")
	o.ExpectNot(t, pgtest.WatchConnected)
}
