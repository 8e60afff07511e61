"""What turns payloads into pixels: one file an engine.

base        CropJob, the Engine protocol
native      our own baseline JPEG decoder: the part that a crop touches
turbojpeg   the system's libjpeg-turbo, from compiled code
pillow      always there; also the judge of what other engines refuse
stored      payloads that are pixels already: planar YUV420 and RGB
idle        IdlePool: their memory between runs
choose      which engine takes which sample
"""
