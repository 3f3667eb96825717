"""Bring the release of a running service up to date, for `rayreel index` and for batch jobs of the API."""

from rayreel.features.compact import compact
from rayreel.features.store import open_store
from rayreel.release.build import Progress
from rayreel.release.increment import Brought, bring_up_to_date
from rayreel.release.site import Candidate
from serve_apps.notify import notify_service


def bring_service_up_to_date(
    candidate: Candidate, *, snapshot: bool = False, progress: Progress = lambda _stage, _done: None
) -> Brought:
    """Call `bring_up_to_date`, then notify a running service and compact the feature store. Raises NoFeatures, Held."""
    done = bring_up_to_date(candidate, snapshot=snapshot, progress=progress)
    notify_service()
    store = open_store(candidate.site.storage, candidate.version.encoder_key)
    compact(store, on=candidate.site.release.read_on)
    return done
