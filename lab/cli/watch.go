package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/settings"
)

func (a *App) watch() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "watch",
		Short:   "Follow what happens on all nodes, a line for each event",
		Example: "  lab watch\n  lab watch --json | jq .subject",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, f, done, err := a.fleet(fleet.Observe)
			if err != nil {
				return err
			}
			defer done()
			w := &watchPrinter{app: a, json: asJSON, known: map[string]string{}}
			for update := range f.Watch(cmd.Context()) {
				if err := w.print(update); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object a line")
	return cmd
}

// watchPrinter prints events, and beside them each change of a node's condition.
type watchPrinter struct {
	app   *App
	json  bool
	known map[string]string
}

func (w *watchPrinter) print(u fleet.Update) error {
	if u.Event != nil {
		if err := w.line(u, u.Event.GetAt().AsTime(), u.Event.GetSubject(), u.Event.GetAction(), u.Event.GetMessage()); err != nil {
			return err
		}
	}
	n, _ := u.View.Node(u.Node)
	action, message := "whole", ""
	switch {
	case n.Err != nil:
		action, message = "unreachable", n.Err.Reason
	case n.Snapshot == nil:
		return nil
	default:
		message = "at stage " + settings.Stage(n.Snapshot.GetReachedStage()).String()
		if !n.Snapshot.GetWhole() {
			action = "not whole"
			if p := n.Snapshot.GetPending(); len(p) > 0 {
				message = p[0].GetStep()
				if p[0].GetReason() != "" {
					message += ": " + p[0].GetReason()
				}
			}
		}
	}
	if w.known[u.Node] == action+message {
		return nil
	}
	w.known[u.Node] = action + message
	return w.line(u, u.View.At, "node", action, message)
}

func (w *watchPrinter) line(u fleet.Update, at time.Time, subject, action, message string) error {
	if !w.json {
		_, err := fmt.Fprintf(w.app.Out, "%s  %-10s  %-11s  %-11s  %s\n", at.Local().Format(time.TimeOnly), u.Node, subject, action, message)
		return err
	}
	line := map[string]any{"at": at, "node": u.Node, "subject": subject, "action": action, "message": message}
	if n, _ := u.View.Node(u.Node); n.Snapshot != nil {
		raw, err := protojson.Marshal(n.Snapshot)
		if err != nil {
			return fmt.Errorf("print: %w", err)
		}
		line["snapshot"] = json.RawMessage(raw)
	}
	return json.NewEncoder(w.app.Out).Encode(line)
}
