-- What was concluded, a part of a list at a time.

CREATE INDEX verdict_in_order ON lucid.verdict (session_key, seq, number);
CREATE INDEX decision_in_order ON lucid.decision (session_key, seq, number);
CREATE INDEX outcome_in_order ON lucid.outcome (session_key, seq, number);
CREATE INDEX incident_in_order ON lucid.incident (session_key, number);
