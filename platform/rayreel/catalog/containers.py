"""Suffixes of video files by container format."""

# The containers that rayreel.media.open allows, by their FFmpeg names. Not listed: audio (.m4a, .mka, .wma), images
# (.heic, .avif), subtitles (.mks), manifests (.ism) and camera previews (.lrv, .thm).
SUFFIXES_OF = {
    "mov": (
        *(".mp4", ".m4v", ".mp4v", ".mov", ".qt", ".mqv", ".3gp", ".3gpp", ".3g2", ".3gp2", ".3gpp2"),
        *(".f4v", ".ismv", ".mj2", ".psp", ".insv", ".360"),
    ),
    "matroska": (".mkv", ".mk3d", ".webm"),
    "avi": (".avi", ".divx", ".xvid"),
    "mpegts": (".ts", ".mts", ".m2ts", ".m2t", ".tp", ".trp"),
    "mpeg": (".mpg", ".mpeg", ".mpe", ".m2p", ".vob", ".vro", ".evo", ".dvd", ".mod", ".tod"),
    "flv": (".flv",),
    "asf": (".asf", ".wmv", ".wm", ".dvr-ms"),
    "ogg": (".ogv", ".ogg", ".ogm", ".ogx"),
}
SUFFIXES = frozenset(suffix for suffixes in SUFFIXES_OF.values() for suffix in suffixes)
