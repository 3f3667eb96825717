"""Words for the titles, descriptions and tags of the sample set; alternatives are separated by `|`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ThemeWords:
    """The words of a category. A title combines a subject with a detail."""

    subjects: str
    details: str
    sentences: str
    tags: str


# Shared by all categories, so that no single word identifies a category.
TITLES = (
    "{0} {1}|{0} {1}|{0} {1}|{0} {1}|{0} {1} tonight|{0} {1}, part two|{0} {1} (slow)|Weekend favourite: {0} {1}"
    "|More {0} {1}|Just {0} {1}"
)
SENTENCES = (
    "Recorded in one take, no edits.|Turn the sound on.|More of this next week.|Shot on a phone, no tripod.|"
    "Watch to the end.|A short one for a slow day."
)
# Titles of clips that say nothing about their category, and of clips that name another one.
VAGUE_TITLES = (
    "Sunday afternoon|A short one|You have to see this|Day {0}|Number {0}|Take {0}|What a week|No words|Finally|"
    "Part {0}|Watch to the end|Testing the new camera|For my sister|Again and again|One more try|Untitled {0}"
)
MISLEADING_TITLES = (
    "Like {0} {1}|Better than {0}|My answer to {0}|It felt like {0} {1}|{0}, but not what you think|Instead of {0}"
)
TAGS = "shorts|relaxing|weekend|nofilter|closeup|asmr"

WORDS = {
    "ocean_waves": ThemeWords(
        "rolling swell|foam and tide|big breakers|a long set of surf|salt spray|high water",
        "under the old pier|along black sand|hitting the harbour wall|off the lighthouse|over rock pools"
        "|curling ashore",
        "The sea came in fast with the wind behind it.|Surfers waited out by the reef."
        "|Gulls over the bay, salt in the air.",
        "sea|surf|beach|coast|tide|gulls",
    ),
    "city_traffic": ThemeWords(
        "neon boulevard|rush hour headlights|downtown taxis|tail lights|a night bus ride|skyscraper windows",
        "after midnight|through the avenue|past the skyline|at the crossing|below the towers|on wet asphalt",
        "Commuters heading home across the bridge.|Cabs, buses and neon signs.|The metropolis does not sleep.",
        "urban|nightlife|cars|skyline|neon|street",
    ),
    "fireworks": ThemeWords(
        "golden rockets|a sparkler finale|bursting peonies|birthday pyrotechnics|crackling comets|colourful explosions",
        "above the stadium|for grandma's seventieth|at the new year countdown|lighting up the river|over the fairground"
        "|as everyone cheers",
        "Ten minutes of rockets and bangs.|The crowd gasped at the grand finale."
        "|Sparks, smoke and a happy birthday song.",
        "celebration|party|sparks|newyear|birthday|rockets",
    ),
    "snowfall": ThemeWords(
        "first flurries|powder and pines|thick flakes|a frosty blizzard|fresh winter white|icy drifts",
        "covering the cabin|across the frozen lake|in the alpine valley|settling on spruce branches"
        "|before the ski lift opens|down the mountain pass",
        "Minus eight and perfectly still.|The plough has not come yet.|Boots, mittens and a thermos of cocoa.",
        "winter|snow|mountains|cold|ski|frost",
    ),
    "cooking": ThemeWords(
        "garlic and tomatoes|sizzling peppers|a quick stir fry|grandad's paella|butter and onions|crispy dumplings",
        "in the iron skillet|with basil and lemon|simmering down|ready in ten minutes|tossed with noodles"
        "|browning nicely",
        "Full recipe below, serves four.|Medium heat, plenty of oil and a pinch of salt."
        "|Dinner smells delicious already.",
        "food|recipe|kitchen|dinner|homemade|tasty",
    ),
    "football": ThemeWords(
        "a last minute goal|the winning penalty|midfield passing|a clever dribble|our under twelves|corner kick drama",
        "in the cup semifinal|against the league leaders|from thirty yards|beating the keeper|after extra time"
        "|at the muddy village ground",
        "Two all at half time and then this.|The referee had no doubts.|What a strike, the fans went wild.",
        "soccer|goal|match|league|sport|fans",
    ),
    "forest_birds": ThemeWords(
        "robins and wrens|the dawn chorus|a pair of finches|warblers singing|one shy woodpecker|nesting thrushes",
        "high in the beeches|among mossy oaks|along the fern trail|deep in the woodland|calling through the canopy"
        "|near the hide",
        "Heard six species from this bench.|Bring binoculars and patience.|Leaves, feathers and birdsong.",
        "nature|birdwatching|woods|wildlife|trees|songbirds",
    ),
    "drum_lesson": ThemeWords(
        "paradiddles|a steady backbeat|snare rudiments|groove practice|ghost notes and fills|hi hat patterns",
        "at ninety bpm|for beginners|with the metronome|counting sixteenths|behind a rock chorus|on a new kit",
        "Keep the wrists loose and count aloud.|Sticking chart in the first comment."
        "|Kick on one and three, snare on two and four.",
        "percussion|music|tutorial|rhythm|practice|beats",
    ),
    "deep_space": ThemeWords(
        "drifting past nebulae|orbiting a gas giant|a starfield journey|spiral galaxies|toward the red planet"
        "|comet dust",
        "at warp speed|beyond the asteroid belt|seen by the telescope|among dying suns|light years from Earth"
        "|on the probe's camera",
        "Rendered from real astronomy catalogues.|Somewhere in the constellation Orion."
        "|The universe is mostly silence.",
        "astronomy|galaxy|stars|cosmos|planets|scifi",
    ),
    "chess": ThemeWords(
        "a queen sacrifice|knight forks|the Sicilian defence|checkmate threats|an endgame with rooks|castling early",
        "in a blitz final|against a grandmaster|explained move by move|with seconds on the clock|winning the bishop"
        "|from the school club",
        "White to play and win.|Opening theory, then a blunder on move twenty.|Can you find the best pawn push?",
        "boardgame|strategy|puzzle|opening|checkmate|tactics",
    ),
    "aquarium": ThemeWords(
        "clownfish and coral|neon tetras|an angelfish parade|bubbling filters|the reef tank|lazy guppies",
        "behind the glass|weaving between seaweed|at feeding time|in the big saltwater display|chasing bubbles"
        "|hiding in anemones",
        "Water is twenty five degrees, nitrates low.|The fish know when lunch is due."
        "|Planted last spring and thriving.",
        "fish|fishkeeping|reef|underwater|coral|tank",
    ),
    "sunset_drone": ThemeWords(
        "golden hour flight|aerial dusk views|gliding toward the horizon|crimson clouds|the last light"
        "|purple ridgelines",
        "above the canyon|over vineyard terraces|across desert dunes|from four hundred feet|circling the summit"
        "|as the sun dips",
        "Two batteries and no wind at all.|The sky turned orange, then violet."
        "|Flown by permission of the park rangers.",
        "aerial|goldenhour|landscape|sky|travel|dusk",
    ),
}
