"""Everything that promotion works with: storage, index, gates and encoders."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from rayreel.encoders.encoder import WordEncoders
from rayreel.evaluation.config import EvaluationConfig
from rayreel.features.store import FeatureStore, open_store
from rayreel.index.alias import alias_target
from rayreel.index.collection import collection_name, version_of
from rayreel.index.config import IndexConfig
from rayreel.index.connect import MilvusClient
from rayreel.index.search import VideoIndex
from rayreel.release import audit, registry
from rayreel.release.config import ReleaseConfig
from rayreel.release.embed import StoreDifference, compare
from rayreel.release.lease import Lease
from rayreel.release.quality import Jury
from rayreel.release.registry import Version
from rayreel.release.rows import ReleaseRows
from rayreel.storage import Storage
from rayreel.tower.embedder import Embedder


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that promotion works with. `word_encoders` builds the encoders for golden queries by text, if needed.

    `interactions` is the file of views for evaluation; by default the one that the version was trained with.
    `encoder_key` identifies the encoders that queries will be encoded with, None if unknown.
    """

    storage: Storage
    client: MilvusClient
    index: IndexConfig
    release: ReleaseConfig
    evaluation: EvaluationConfig
    word_encoders: Callable[[], WordEncoders]
    interactions: str | None = None
    encoder_key: str | None = None

    @property
    def jury(self) -> Jury:
        """What towers are judged with here."""
        return Jury(self.storage, self.evaluation, self.release.gates, self.interactions, self.release.smoothing)

    def lease(self, name: str, what: str, patience_s: float = 0.0) -> Lease:
        """The lease `name` for work here; see `Lease`."""
        return Lease(self.storage, name, what, patience_s=patience_s, ttl_s=self.release.lease_s)

    def serving(self) -> int | None:
        """The version that serves: the one whose collection the index alias names. None before the first."""
        target = alias_target(self.client, self.index.alias, self.index.timeout_s)
        return None if target is None else version_of(target)

    def champion(self) -> Version | None:
        """The version that serves or, if the index was lost, the last that served."""
        serving = self.serving() or audit.served()
        return None if serving is None else registry.find(str(serving))


@dataclass(frozen=True)
class Candidate:
    """A version that may be promoted: its tower, features, rows and collection."""

    version: Version
    site: Site

    @cached_property
    def tower(self) -> Embedder:
        """Its tower, on the CPU."""
        return registry.load(self.version, self.site.release.smoothing)

    @cached_property
    def store(self) -> FeatureStore:
        """The store of its encoders' features. Raises NoFeatures."""
        return open_store(self.site.storage, self.version.encoder_key)

    @cached_property
    def rows(self) -> ReleaseRows:
        """The version's rows below the storage root."""
        return ReleaseRows(self.site.storage, self.version.number)

    def compare(self) -> StoreDifference:
        """Compare its rows with the store's current features. Raises NoFeatures."""
        return compare(self.store, self.rows)

    @property
    def collection(self) -> str:
        """The name of the version's collection, which may not exist yet."""
        return collection_name(self.version.number)

    @property
    def index(self) -> VideoIndex:
        """The index of this version's collection, regardless of the alias."""
        return VideoIndex(self.site.client, self.site.index, self.collection)
