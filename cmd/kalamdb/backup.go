package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// jobPoll is the time between two looks at a job.
	jobPoll = 500 * time.Millisecond
	// jobPatience is how long a job is looked for again while no answer comes: its node may be starting again.
	jobPatience = 2 * time.Minute
)

// jobCommand starts a job with a statement and follows it to its end.
type jobCommand struct {
	client      sqlClient
	json, quiet bool
}

// finished is what a jobCommand prints as JSON.
type finished struct {
	Job     string `json:"job_id"`
	Status  string `json:"status"`
	Message string `json:"message"`
}

const jobExits = "It exits with 0 when it is done, with 1 when the node cannot be reached or refuses, or when the job fails, and with 2\n" +
	"when the command line is wrong. When this program is interrupted the job goes on: KILL JOB ends it.\n\n" +
	"The password and the token can also be given in KALAMDB_PASSWORD and KALAMDB_TOKEN, which keeps them out of the\n" +
	"list of processes."

func newBackupCommand(env func(string) string) *cobra.Command {
	j := &jobCommand{}
	command := &cobra.Command{
		Use:   "backup [--url <node>] [--user <name>] <place>",
		Short: "make a backup of a running cluster",
		Long: "Makes a backup through a running node, with BACKUP DATABASE, and shows how far it is. The place is a directory\n" +
			"of that node, beginning with /, or the name of a storage with a prefix behind a slash. What lies there of earlier\n" +
			"backups is not written again. The caller needs role dba or system.\n\n" + jobExits,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(command *cobra.Command, args []string) error {
			return j.run(command, "BACKUP DATABASE TO "+quote(args[0]))
		},
	}
	j.flags(command, env)
	return command
}

func newRestoreCommand(env func(string) string) *cobra.Command {
	j, name := &jobCommand{}, ""
	command := &cobra.Command{
		Use:   "restore [--backup <name>] [--url <node>] [--user <name>] <place>",
		Short: "put a backup into a running cluster that is empty",
		Long: "Restores a backup through a running node, with RESTORE DATABASE, and shows how far it is. The cluster must have\n" +
			"no tables; it may have another size and other numbers of shards than the one that was backed up. The place is a\n" +
			"directory of that node, beginning with /, or the name of a storage with a prefix behind a slash. A restore that was\n" +
			"interrupted goes on when it is asked for again. The caller needs role system.\n\n" + jobExits,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(command *cobra.Command, args []string) error {
			statement := "RESTORE DATABASE FROM " + quote(args[0])
			if name != "" {
				statement += " BACKUP " + quote(name)
			}
			return j.run(command, statement)
		},
	}
	command.Flags().StringVar(&name, "backup", "", "which backup; the newest when left out")
	j.flags(command, env)
	return command
}

func (j *jobCommand) flags(command *cobra.Command, env func(string) string) {
	j.client.flags(command, command.Flags(), env)
	command.Flags().BoolVar(&j.json, "json", false, "print the end of the job as JSON")
	command.Flags().BoolVarP(&j.quiet, "quiet", "q", false, "do not show how far it is")
}

var jobInMessage = regexp.MustCompile(`Job ID: ([A-Z]{2}-[0-9]+)`)

func (j *jobCommand) run(command *cobra.Command, statement string) error {
	ctx := command.Context()
	started, err := j.client.sql(ctx, statement)
	if err != nil {
		return err
	}
	found := jobInMessage.FindStringSubmatch(started.message)
	if found == nil {
		return fmt.Errorf("the node answers %q, which names no job", started.message)
	}
	end, err := j.follow(ctx, found[1], func(line string) {
		if !j.quiet {
			_, _ = fmt.Fprintln(command.ErrOrStderr(), line) // who cannot be shown progress wants the end still
		}
	})
	if err != nil {
		return err
	}
	if j.json {
		encoder := json.NewEncoder(command.OutOrStdout())
		encoder.SetIndent("", "  ")
		err = encoder.Encode(end)
	} else if end.Status == "completed" {
		_, err = fmt.Fprintln(command.OutOrStdout(), end.Message)
	}
	if err == nil && end.Status != "completed" {
		err = fmt.Errorf("job %s is %s: %s", end.Job, end.Status, end.Message)
	}
	return err
}

// follow shows the progress of a job until it has ended.
func (j *jobCommand) follow(ctx context.Context, job string, show func(string)) (*finished, error) {
	query := "SELECT status, progress_percent, message, exception_trace FROM system.jobs WHERE job_id = " + quote(job)
	answered, shown := time.Now(), ""
	for {
		found, err := j.client.sql(ctx, query)
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("interrupted; job %s goes on, KILL JOB '%s' ends it", job, job)
		case err != nil && (!mayPass(err) || time.Since(answered) > jobPatience):
			return nil, fmt.Errorf("job %s goes on, but cannot be followed: %w", job, err)
		case err == nil && len(found.rows) == 0:
			return nil, fmt.Errorf("job %s is not in system.jobs any more", job)
		case err == nil:
			answered = time.Now()
			row := found.objects()[0]
			word := func(name string) string {
				if row[name] == nil {
					return ""
				}
				return fmt.Sprint(row[name])
			}
			status, message := word("status"), word("message")
			switch status {
			case "completed", "failed", "cancelled", "skipped":
				return &finished{Job: job, Status: status, Message: message}, nil
			case "retrying":
				message = word("exception_trace")
			}
			line := strings.TrimSpace(fmt.Sprintf("%s %s %3s%% %s", job, status, word("progress_percent"), message))
			if line != shown {
				show(line)
				shown = line
			}
		}
		select {
		case <-time.After(jobPoll):
		case <-ctx.Done():
		}
	}
}

// mayPass reports whether the same question may be answered later.
func mayPass(err error) bool {
	refused, ok := errors.AsType[*refusedError](err)
	return !ok || refused.status >= http.StatusInternalServerError || refused.status == http.StatusTooManyRequests
}
