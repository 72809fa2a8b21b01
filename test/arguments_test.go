package test

import (
	"context"
	"strings"
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
