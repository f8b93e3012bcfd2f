"""What the stores hold at one moment, so that they can be brought back to it: quicker than to play it all again."""

from typing import Any

from itlc.stores.postgres import DATABASES

from tests.support.stack import COLLECTIONS, Stores


class Kept:
    """A copy of every row, document and node, taken when it is made. Messages are not among them."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        for database in DATABASES:
            copies = " ".join(
                f"CREATE TABLE kept.{table.name} AS TABLE {table.name};" for table in database.metadata.sorted_tables
            )
            stores.rows(
                database.name, f"DO $$ BEGIN DROP SCHEMA IF EXISTS kept CASCADE; CREATE SCHEMA kept; {copies} END $$"
            )
        self.documents = {name: stores.documents(name) for name in COLLECTIONS}
        self.nodes = stores.graph(
            "MATCH (n) WHERE NOT n:Migration RETURN elementId(n) AS at, labels(n) AS labels, properties(n) AS fields"
        )
        self.links = stores.graph(
            "MATCH (a)-[r]->(b) RETURN elementId(a) AS a, elementId(b) AS b, type(r) AS type, properties(r) AS fields"
        )

    def restore(self) -> None:
        """Bring all stores back to it, with empty queues. Ids given meanwhile are not given again."""
        self.stores.empty(from_one=False)
        for database in DATABASES:
            inserts = []
            for table in database.metadata.sorted_tables:
                columns = ", ".join(f'"{column.name}"' for column in table.columns if column.computed is None)
                inserts.append(
                    f"INSERT INTO {table.name} ({columns}) OVERRIDING SYSTEM VALUE "
                    f"SELECT {columns} FROM kept.{table.name};"
                )
            self.stores.rows(database.name, f"DO $$ BEGIN {' '.join(inserts)} END $$")
        for name, documents in self.documents.items():
            if documents:
                self.stores.mongo["itlc_pbfr"][name].insert_many(documents)
        self._graph("UNWIND $all AS one CREATE (n:$(one.labels)) SET n = one.fields, n.kept_at = one.at", self.nodes)
        self._graph(
            "UNWIND $all AS one MATCH (a {kept_at: one.a}), (b {kept_at: one.b}) "
            "CREATE (a)-[r:$(one.type)]->(b) SET r = one.fields",
            self.links,
        )
        self._graph("MATCH (n) REMOVE n.kept_at", [])

    def _graph(self, cypher: str, rows: list[dict[str, Any]]) -> None:
        self.stores.graph(cypher, all=rows)

    def forget(self) -> None:
        """Delete the copies."""
        for database in DATABASES:
            self.stores.rows(database.name, "DROP SCHEMA kept CASCADE")
